"""What is decided about a difference, and Holm's correction over several of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ecgopt.analysis.interval import Interval

MIN_REPLICATES_TO_DECIDE = 2
"""One replicate shows nothing about other subsets, splits and searches."""


class Decision(StrEnum):
    """What is decided about a difference; who wins by it, only its two sides know."""

    HIGHER = "higher"
    LOWER = "lower"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class PValues:
    """P values of one cell, before or after Holm's correction."""

    difference: float
    """Two-sided, of no difference at all."""
    equivalence: float
    """Of a difference at least as large as the margin: the larger of two one-sided tests."""


def run_tests(interval: Interval, margin: float) -> PValues:
    """Return the p values of the interval's estimate.

    Source: two one-sided tests, Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657.
    """
    distance, error = abs(interval.estimate), interval.error
    if math.isinf(error.standard_error):
        return PValues(difference=1.0, equivalence=1.0)
    if error.standard_error == 0:
        return PValues(difference=float(distance == 0), equivalence=float(distance > margin))
    return PValues(
        difference=min(1.0, 2 * error.tail(distance)), equivalence=error.tail(margin - distance)
    )


def correct_together(tests: Sequence[PValues]) -> list[PValues]:
    """Return Holm-corrected p values, the differences as one family, the equivalences as another.

    Source: Holm 1979, Scand. J. Statist. 6:65.
    """
    differences = holm([test.difference for test in tests])
    equivalences = holm([test.equivalence for test in tests])
    return [
        PValues(difference=difference, equivalence=equivalence)
        for difference, equivalence in zip(differences, equivalences, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down correction, in the order given.

    Equal to statsmodels' `multipletests(method="holm")`, whose garbage collection at every call
    took most of a report's time.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    ordered = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ordered):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def decide(interval: Interval, corrected: PValues, margin: float) -> Decision:
    """Return what is decided about one difference.

    It is higher or lower where no difference is refuted and the estimate exceeds the margin. It is
    equivalent to none where a difference as large as the margin is refuted on both sides; for a
    single difference that is an interval inside the margin. All else is undecided, and so is every
    difference that rests on one replicate.
    """
    if interval.n_replicates < MIN_REPLICATES_TO_DECIDE:
        return Decision.UNDECIDED
    alpha = 1 - interval.confidence
    if corrected.equivalence <= alpha / 2:
        return Decision.EQUIVALENT
    if corrected.difference <= alpha and abs(interval.estimate) > margin:
        return Decision.HIGHER if interval.estimate > 0 else Decision.LOWER
    return Decision.UNDECIDED
