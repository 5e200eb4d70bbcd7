"""The four verdicts, what would decide an undecided cell, and Holm's correction over cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from ecgopt.analysis.interval import Interval, degrees_of_freedom, quantile

Verdict = Literal["transfer wins", "scratch wins", "equivalent", "undecided"]

POWER = 0.8
"""With which a number of replicates should decide."""
MOST_REPLICATES = 200
"""Beyond this many, a cell is reported as not decidable by replication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """P values of one cell, before or after Holm's correction."""

    difference: float
    """Two-sided, of no difference at all."""
    equivalence: float
    """Of a difference at least as large as the margin: the larger of two one-sided tests."""


def run_tests(interval: Interval, margin: float) -> Tests:
    """Return the p values of the interval's estimate.

    Source: two one-sided tests, Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657.
    """
    estimate, error = interval.estimate, interval.standard_error
    if error == 0:
        return Tests(difference=float(estimate == 0), equivalence=float(abs(estimate) > margin))
    if math.isinf(error):
        return Tests(difference=1.0, equivalence=1.0)
    return Tests(
        difference=min(1.0, 2 * _upper_tail(abs(estimate) / error, interval.degrees_of_freedom)),
        equivalence=_upper_tail((margin - abs(estimate)) / error, interval.degrees_of_freedom),
    )


def _upper_tail(statistic: float, freedom: float) -> float:
    if math.isinf(freedom):
        return float(stats.norm.sf(statistic))
    return float(stats.t.sf(statistic, freedom))


def correct_for_cells(tests: Sequence[Tests]) -> list[Tests]:
    """Return Holm-corrected p values, the differences as one family, the equivalences as another.

    Source: Holm 1979, Scand. J. Statist. 6:65.
    """
    if len(tests) < 2:
        return list(tests)
    from statsmodels.stats.multitest import multipletests

    differences = multipletests([test.difference for test in tests], method="holm")[1]
    equivalences = multipletests([test.equivalence for test in tests], method="holm")[1]
    return [
        Tests(difference=float(difference), equivalence=float(equivalence))
        for difference, equivalence in zip(differences, equivalences, strict=True)
    ]


def decide(interval: Interval, corrected: Tests, margin: float) -> Verdict:
    """Return the verdict on one cell.

    An arm wins where no difference is refuted and the estimate exceeds the margin. The arms are
    equivalent where a difference as large as the margin is refuted on both sides; for a single
    cell that is an interval inside the margin. All else is undecided.
    """
    alpha = 1 - interval.confidence
    if corrected.equivalence <= alpha / 2:
        return "equivalent"
    if corrected.difference <= alpha and abs(interval.estimate) > margin:
        return "transfer wins" if interval.estimate > 0 else "scratch wins"
    return "undecided"


def further_replicates(interval: Interval, margin: float) -> int | None:
    """Return how many more replicates would probably decide, if the estimates are true.

    None when no number up to `MOST_REPLICATES` would: the difference lies too close to the margin,
    or the test set has too few patients.
    """
    distance = abs(interval.estimate)
    goal = distance if distance > margin else margin - distance
    if math.isinf(interval.standard_error):
        return None
    for n_units in range(interval.n_units + 1, MOST_REPLICATES + 1):
        freedom = degrees_of_freedom(
            run_variance=interval.run_variance,
            patient_variance=interval.patient_variance,
            n_units=n_units,
            n_patients=interval.n_patients,
        )
        error = math.sqrt(interval.run_variance / n_units + interval.patient_variance)
        if goal >= error * (quantile(interval.confidence, freedom) + stats.norm.ppf(POWER)):
            return n_units - interval.n_units
    return None
