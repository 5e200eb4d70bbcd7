"""From the published recipe to the fair one on the same data, and what each step changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm, Pair
from ecgopt.analysis.interval import PairedDifference, estimate_mean
from ecgopt.analysis.moderation import moderated_errors
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
    """Of the first step's difference; None where that is within its own error."""

    @property
    def difference(self) -> float:
        """Arm minus reference."""
        return self.arm - self.reference


def waterfall(reference: Arm, arm: Arm, *, confidence: float) -> tuple[Step, ...]:
    """Return the steps that were measured, from the published reading to the tuned one.

    The published study printed the best of all epochs on its test set. Here that reading, the last
    epoch, and the epoch that validation would choose come from the same runs; then only the
    learning rate is chosen by validation, then everything. A step without runs is left out.
    """
    steps: list[Step] = []
    gap = None
    for name, role, read in _READINGS:
        scores = _paired(reference, arm, role, read)
        if not scores:
            continue
        theirs, ours = (float(np.mean([pair[side] for pair in scores.values()])) for side in (0, 1))
        change = ours - theirs - steps[-1].difference if steps else None
        if not steps:
            gap = _divisible_gap(scores, confidence)
        steps.append(
            Step(
                name=name,
                reference=theirs,
                arm=ours,
                change=change,
                share_explained=-change / gap if change is not None and gap else None,
            )
        )
    return tuple(steps)


def _divisible_gap(scores: Mapping[Pair, tuple[float, float]], confidence: float) -> float | None:
    """Return the mean difference where it lies beyond its own error, and else None."""
    differences = {
        pair: PairedDifference(value=ours - theirs, influence=None)
        for pair, (theirs, ours) in scores.items()
    }
    estimate = estimate_mean(differences)
    (error,) = moderated_errors([estimate])
    is_known = estimate.n_replicates > 1 and abs(estimate.value) > error.reach(confidence)
    return estimate.value if is_known else None


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
    ("published recipe, last epoch", "published", _last_epoch),
    ("epoch chosen on validation", "published", _validated_epoch),
    ("own learning rate", "learning_rate", _last_epoch),
    ("all tuned", "tuned", _last_epoch),
)


def _paired(
    reference: Arm, arm: Arm, role: FinalRole, read: Callable[[FinalEvidence], float | None]
) -> dict[Pair, tuple[float, float]]:
    ours, theirs = arm.finals_by_pair(role), reference.finals_by_pair(role)
    return {
        pair: (first, second)
        for pair in ours
        if pair in theirs
        and (first := read(theirs[pair])) is not None
        and (second := read(ours[pair])) is not None
    }
