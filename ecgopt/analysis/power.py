"""How probable each verdict is for a true difference and a number of replicates and seeds."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from ecgopt.analysis.interval import Interval, Variances
from ecgopt.analysis.mean_error import MeanError
from ecgopt.analysis.verdict import MIN_REPLICATES_TO_DECIDE
from ecgopt.shapes import Float

POWER = 0.8
"""With which a planned size should decide."""
MOST_REPLICATES = 200
"""Beyond this many, a cell is reported as not decidable by replication."""
_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a verdict is decided by."""

    margin: float
    confidence: float
    n_verdicts: int = 1
    """Of all arms and cells, decided together; Holm's first and hardest step is planned for."""

    @property
    def cell_confidence(self) -> float:
        """The confidence that one cell must reach by itself."""
        return 1 - (1 - self.confidence) / self.n_verdicts


def planned_error(
    variances: Variances, *, n_replicates: int, n_seeds: int, n_patients: int
) -> MeanError:
    """Return the error of a planned cell; parts of `variances` that are unknown count as zero."""
    of_seeds = (variances.seeds or 0.0) ** 2 / n_seeds
    return MeanError(
        run_variance=(variances.replicates or 0.0) ** 2 + of_seeds,
        patient_variance=(variances.patients or 0.0) ** 2,
        n_units=n_replicates,
        n_patients=n_patients,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Probabilities of the verdicts; what is left is `undecided`."""

    higher_wins: float
    lower_wins: float
    equivalent: float


def chances(true_difference: float, error: MeanError, rules: Rules) -> Chances:
    """Return the probability of each verdict.

    It is averaged over what a study of this size may estimate the variance between runs to be.

    Args:
        true_difference: What is true.
        error: With the true variances.
        rules: Margin and confidence.
    """
    if error.n_units < MIN_REPLICATES_TO_DECIDE:
        return Chances(higher_wins=0.0, lower_wins=0.0, equivalent=0.0)
    spread = error.standard_error
    if spread == 0:
        is_win = abs(true_difference) > rules.margin
        return Chances(
            higher_wins=float(is_win and true_difference > 0),
            lower_wins=float(is_win and true_difference < 0),
            equivalent=float(not is_win),
        )
    reach = np.array([seen.reach(rules.cell_confidence) for seen in _estimates(error)])
    threshold = np.maximum(rules.margin, reach)
    room = np.maximum(rules.margin - reach, 0.0)

    def below(value: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
        return np.asarray(special.ndtr((value - true_difference) / spread))

    return Chances(
        higher_wins=float(np.mean(1 - below(threshold))),
        lower_wins=float(np.mean(below(-threshold))),
        equivalent=float(np.mean(below(room) - below(-room))),
    )


def _estimates(error: MeanError) -> list[MeanError]:
    """Return the error as studies of this size would estimate it, equally probable."""
    if error.n_units == 1 or error.run_variance == 0:
        return [error]
    freedom = error.n_units - 1
    shares = (np.arange(_STEPS) + 0.5) / _STEPS
    factors = 2 * special.gammaincinv(freedom / 2, shares) / freedom
    return [replace(error, run_variance=error.run_variance * float(f)) for f in factors]


def chance_to_exclude_zero(true_difference: float, error: MeanError, confidence: float) -> float:
    """Return the probability that the interval excludes zero on the side of the difference."""
    found = chances(true_difference, error, Rules(margin=0.0, confidence=confidence))
    return found.higher_wins if true_difference > 0 else found.lower_wins


def further_replicates(interval: Interval, *, margin: float, n_verdicts: int = 1) -> int | None:
    """Return how many more replicates would decide with 80 % power, if the estimates are true.

    None with one replicate, and when no number up to `MOST_REPLICATES` would: the difference lies
    too close to the margin, or the test set has too few patients.
    """
    if (
        interval.n_replicates < MIN_REPLICATES_TO_DECIDE  # nothing is known about their spread
        or math.isinf(interval.error.standard_error)
    ):
        return None
    rules = Rules(margin=margin, confidence=interval.confidence, n_verdicts=n_verdicts)

    def decides(n_replicates: int) -> bool:
        error = replace(interval.error, n_units=n_replicates)
        found = chances(interval.estimate, error, rules)
        return max(found.higher_wins, found.lower_wins, found.equivalent) >= POWER

    # The power grows with every replicate, so the least number can be bisected.
    low, high = interval.error.n_units, MOST_REPLICATES
    if not decides(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high - interval.error.n_units


def replicates_needed(
    true_difference: float, variances: Variances, rules: Rules, *, n_seeds: int, n_patients: int
) -> int | None:
    """Return the least number of replicates, 2 or more, that decides with 80 % power.

    A true difference beyond the margin should win, a smaller one should be called equivalent.
    None when `MOST_REPLICATES` are not enough.
    """
    for n_replicates in range(2, MOST_REPLICATES + 1):
        error = planned_error(
            variances, n_replicates=n_replicates, n_seeds=n_seeds, n_patients=n_patients
        )
        found = chances(true_difference, error, rules)
        wanted = found.higher_wins if true_difference > 0 else found.lower_wins
        if (wanted if abs(true_difference) > rules.margin else found.equivalent) >= POWER:
            return n_replicates
    return None
