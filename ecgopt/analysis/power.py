"""How probable each verdict is for planned differences, by drawing studies and deciding them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ecgopt.analysis.interval import Estimate, Interval, Variances
from ecgopt.analysis.verdict import (
    MIN_REPLICATES_TO_DECIDE,
    Decision,
    Rules,
    decide_each,
)

POWER = 0.8
"""With which a planned size should decide."""
MOST_REPLICATES = 100
"""Beyond this many, a cell is reported as not decidable by replication."""
_STUDIES, _VERDICTS = (50, 400), 1000
"""Studies that are drawn, least and most, and verdicts that are aimed at in all of them."""
_Z_OF_POWER = 0.8416
_FURTHER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a planned comparison looks like, but for its number of replicates."""

    overlaps: Sequence[float]
    """Share of the pool that a replicate draws, per verdict: arms times cells."""
    n_seeds: int
    n_patients: int
    variances: Variances
    """Of every difference; parts that are unknown count as zero."""
    freedom: float = math.inf
    """Degrees of freedom that a pilot knew the variances of runs with; infinite for assumptions."""
    pretraining_runs: int = 1
    """Checkpoints that replicates share; with 1, or one of its own each, replicates are the units.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Mean probabilities of the verdicts; what is left is `undecided`."""

    higher_wins: float
    lower_wins: float
    equivalent: float


def chances(true_difference: float, design: Design, rules: Rules, n_replicates: int) -> Chances:
    """Return the mean probability of each verdict where all contrasts have one true difference.

    Studies are drawn and decided by the rule of the report itself. Where the variances come from a
    pilot, each study draws what they may truly be, so the power is the mean over what is known.
    """
    if n_replicates < MIN_REPLICATES_TO_DECIDE:
        return Chances(higher_wins=0.0, lower_wins=0.0, equivalent=0.0)
    n_verdicts = len(design.overlaps)
    n_studies = min(max(_VERDICTS // n_verdicts, _STUDIES[0]), _STUDIES[1])
    counts = dict.fromkeys(Decision, 0)
    studies = [_draw(true_difference, design, n_replicates, study) for study in range(n_studies)]
    for verdict in chain(*decide_each(studies, rules)):
        counts[verdict.decision] += 1
    total = n_studies * n_verdicts
    return Chances(
        higher_wins=counts[Decision.HIGHER] / total,
        lower_wins=counts[Decision.LOWER] / total,
        equivalent=counts[Decision.EQUIVALENT] / total,
    )


def _draw(true_difference: float, design: Design, n_replicates: int, study: int) -> list[Estimate]:
    """Return the estimates of one study; equal studies of other sizes draw alike."""
    random = np.random.default_rng(study)
    pilot = 1.0
    if math.isfinite(design.freedom):
        pilot = design.freedom / random.chisquare(design.freedom)
    seeds, replicates, patients = (
        (part or 0.0) ** 2
        for part in (
            design.variances.seeds,
            design.variances.replicates,
            design.variances.patients,
        )
    )
    of_seeds = pilot * seeds / design.n_seeds
    of_subsets = pilot * replicates
    n_units = n_replicates
    if 1 < design.pretraining_runs < n_replicates:
        n_units = design.pretraining_runs
    per_unit = n_replicates / n_units
    freedom = n_units - 1
    seed_freedom = n_replicates * (design.n_seeds - 1)
    found = []
    for overlap in design.overlaps:
        common = of_subsets * overlap / (1 - overlap) if overlap < 1 else math.inf
        spread = math.sqrt((of_subsets + of_seeds) / n_replicates + patients)
        value = true_difference + spread * random.normal()
        if math.isfinite(common):
            value += math.sqrt(common) * random.normal()
        explained = 0.0
        if seed_freedom:
            explained = of_seeds / per_unit * random.chisquare(seed_freedom) / seed_freedom
        found.append(
            Estimate(
                value=value,
                n_replicates=n_replicates,
                n_units=n_units,
                run_variance=(of_subsets + of_seeds)
                / per_unit
                * random.chisquare(freedom)
                / freedom,
                explained=explained,
                patient_variance=patients,
                n_patients=design.n_patients,
                overlap=overlap,
                variances=design.variances,
            )
        )
    return found


def replicates_needed(true_difference: float, design: Design, rules: Rules) -> int | None:
    """Return the least number of replicates, 2 or more, that decides with 80 % power.

    A true difference beyond the margin should win, a smaller one should be called equivalent.
    None when `MOST_REPLICATES` are not enough.
    """

    def decides(n_replicates: int) -> bool:
        found = chances(true_difference, design, rules, n_replicates)
        if abs(true_difference) <= rules.margin:
            return found.equivalent >= POWER
        return (found.higher_wins if true_difference > 0 else found.lower_wins) >= POWER

    # The power grows with every replicate, so the least number can be bisected.
    low, high = MIN_REPLICATES_TO_DECIDE - 1, MOST_REPLICATES
    if not decides(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def further_replicates(
    interval: Interval, rules: Rules, *, n_verdicts: int
) -> tuple[int, int | None] | None:
    """Return how many more replicates would decide with 80 % power.

    Two numbers: if the estimate is right, and if the true difference is a standard error nearer to
    zero, which may be None. None altogether below three replicates, which hardly know their spread,
    and where no number up to `MOST_REPLICATES` would decide.
    """
    if interval.n_replicates < MIN_REPLICATES_TO_DECIDE + 1 or not interval.error.is_known:
        return None
    distance = abs(interval.estimate)
    likely = _further(distance, interval, rules, n_verdicts)
    if likely is None:
        return None
    nearer = max(distance - interval.error.standard_error, 0.0)
    return likely, _further(nearer, interval, rules, n_verdicts)


def _further(distance: float, interval: Interval, rules: Rules, n_verdicts: int) -> int | None:
    for count in _FURTHER:
        error = replace(
            interval.error,
            n_units=interval.error.n_units + count,
            freedom=interval.error.freedom + count,
        )
        if math.isinf(error.standard_error):
            return None
        spread = _Z_OF_POWER * error.standard_error
        reach = error.reach(1 - (1 - rules.confidence) / n_verdicts)
        if (
            distance - spread >= max(rules.margin, reach)
            or distance + spread <= rules.margin - reach
        ):
            return count
    return None
