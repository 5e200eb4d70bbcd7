"""From the published recipe to the fair one on the same data, and what each step changes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm
from ecgopt.evidence.records import FinalEvidence, FinalRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One way of reading the same comparison."""

    name: str
    reference: float
    arm: float
    """Mean test macro AUROC over the pairs."""
    change: float | None
    """Of the difference, from the step before; None for the first."""
    share_explained: float | None
    """Of the first step's difference; None where that is next to nothing."""

    @property
    def difference(self) -> float:
        """Arm minus reference."""
        return self.arm - self.reference


SMALLEST_GAP = 0.002
"""Below this, a published difference is too small to be divided into shares."""


def waterfall(reference: Arm, arm: Arm) -> tuple[Step, ...]:
    """Return the steps that were measured, from the published reading to the tuned one.

    The published study printed the best of all epochs on its test set. Here that reading, the last
    epoch, and the epoch that validation would choose come from the same runs; then only the
    learning rate is chosen by validation, then everything. A step without runs is left out.
    """
    steps: list[Step] = []
    for name, role, read in _READINGS:
        scores = _means(reference, arm, role, read)
        if scores is None:
            continue
        first = steps[0].difference if steps else None
        change = scores[1] - scores[0] - steps[-1].difference if steps else None
        is_divisible = change is not None and first is not None and abs(first) >= SMALLEST_GAP
        steps.append(
            Step(
                name=name,
                reference=scores[0],
                arm=scores[1],
                change=change,
                share_explained=-change / first
                if is_divisible and change is not None and first is not None
                else None,
            )
        )
    return tuple(steps)


def _best_test_epoch(final: FinalEvidence) -> float | None:
    return max(final.test_curve) if final.test_curve else None


def _last_epoch(final: FinalEvidence) -> float | None:
    return final.metrics["macro_auroc"]


def _validated_epoch(final: FinalEvidence) -> float | None:
    if not final.test_curve or len(final.curve) != len(final.test_curve):
        return None
    return final.test_curve[int(np.argmax(final.curve))]


_READINGS: tuple[tuple[str, FinalRole, Callable[[FinalEvidence], float | None]], ...] = (
    ("published recipe, best test epoch", "published", _best_test_epoch),
    ("last epoch instead", "published", _last_epoch),
    ("epoch chosen on validation", "published", _validated_epoch),
    ("own learning rate", "learning_rate", _last_epoch),
    ("all tuned", "tuned", _last_epoch),
)


def _means(
    reference: Arm, arm: Arm, role: FinalRole, read: Callable[[FinalEvidence], float | None]
) -> tuple[float, float] | None:
    ours, theirs = arm.finals_by_pair(role), reference.finals_by_pair(role)
    pairs = [(read(theirs[pair]), read(ours[pair])) for pair in ours if pair in theirs]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return None
    means = np.mean(known, axis=0)
    return float(means[0]), float(means[1])
