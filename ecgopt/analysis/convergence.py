"""Score against epochs and seconds, each arm at its own winner: does scratch catch up?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm
from ecgopt.evidence.records import FinalEvidence

CHANCE = 0.5
SHARE_OF_BEST = 0.95
"""Of the gain over chance: the first epoch that reaches it counts as converged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When a final fit first reached a validation score."""

    epochs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """How fast the final fits of one arm learn."""

    own_best: tuple[Reached, ...]
    """Per final: 95 % of the way from chance to its own best score."""
    common_target: tuple[Reached | None, ...]
    """Per final: the common target; None where it is never reached."""
    target: float


def converge(arm: Arm, target: float) -> Convergence | None:
    """Return how fast the arm's winners learn; None without a curve."""
    finals = [final for final in arm.finals_by_pair("tuned").values() if final.curve]
    if not finals:
        return None
    return Convergence(
        own_best=tuple(_own_best(final) for final in finals),
        common_target=tuple(reach(final, target) for final in finals),
        target=target,
    )


def common_target(arms: Sequence[Arm]) -> float | None:
    """Return 95 % of the weakest arm's mean gain, which single fits of it may never reach."""
    best = [
        float(np.mean([max(final.curve) for final in curves]))
        for arm in arms
        if (curves := [f for f in arm.finals_by_pair("tuned").values() if f.curve])
    ]
    if len(best) < len(arms):
        return None
    return CHANCE + SHARE_OF_BEST * (min(best) - CHANCE)


def _own_best(final: FinalEvidence) -> Reached:
    reached = reach(final, CHANCE + SHARE_OF_BEST * (max(final.curve) - CHANCE))
    # A curve below chance throughout "reaches" its share at its best epoch.
    return reached or _at(final, int(np.argmax(final.curve)))


def reach(final: FinalEvidence, target: float) -> Reached | None:
    """Return when the curve first lies at or above `target`."""
    reached = np.flatnonzero(np.asarray(final.curve) >= target)
    return _at(final, int(reached[0])) if len(reached) else None


def _at(final: FinalEvidence, position: int) -> Reached:
    return Reached(epochs=position + 1, seconds=final.seconds * (position + 1) / len(final.curve))
