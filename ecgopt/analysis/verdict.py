"""What is decided about a difference, and Holm's correction over several of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Self

from ecgopt.analysis.interval import Estimate, Interval
from ecgopt.analysis.mean_error import MeanError, tails
from ecgopt.analysis.moderation import moderated_errors
from ecgopt.analysis.spending import Look

MIN_REPLICATES_TO_DECIDE = 2
"""One replicate shows nothing about other subsets, splits and searches."""


class Decision(StrEnum):
    """What is decided about a difference; who wins by it, only its two sides know."""

    HIGHER = "higher"
    LOWER = "lower"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    INTERIM = "interim"
    """Planned work is missing, so nothing is decided yet."""

    def winner(self, reference: str, arm: str) -> str | None:
        """Return which of two arms wins by this difference, arm minus reference, if one does."""
        return {Decision.HIGHER: arm, Decision.LOWER: reference}.get(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PValues:
    """P values of one cell, before or after Holm's correction."""

    difference: float
    """Two-sided, of no difference at all."""
    equivalence: float
    """Of a difference at least as large as the margin: the larger of two one-sided tests."""


def run_tests(
    estimates: Sequence[Estimate], errors: Sequence[MeanError], margin: float
) -> list[PValues]:
    """Return the p values of estimates.

    Source: two one-sided tests, Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657.
    """
    distances = [abs(found.value) for found in estimates]
    differences = tails(distances, errors)
    equivalences = tails([margin - distance for distance in distances], errors)
    return [
        PValues(difference=min(1.0, 2 * difference), equivalence=equivalence)
        if error.is_known
        else PValues(difference=1.0, equivalence=1.0)
        for difference, equivalence, error in zip(differences, equivalences, errors, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What verdicts are decided by."""

    margin: float
    confidence: float
    """Of intervals."""
    look: Look
    """What may be spent."""

    @classmethod
    def of_one_look(cls, *, margin: float, confidence: float) -> Self:
        """Return the rules of a comparison that is looked at once."""
        alpha = 1 - confidence
        look = Look(replicates=0, level=alpha, spent=alpha)
        return cls(margin=margin, confidence=confidence, look=look)

    @property
    def level(self) -> float:
        """At or below which the corrected p value of a difference decides, at this look."""
        return self.look.level


def correct_together(
    tests: Sequence[PValues],
    n_verdicts: int,
    look: Look,
    settled: Sequence[Decision | None] = (),
) -> list[PValues]:
    """Return Holm-corrected p values, the differences as one family, the equivalences as another.

    Args:
        tests: Those that could be run.
        n_verdicts: Of all arms and cells that are compared; the others count as not significant.
        look: At which they are made.
        settled: What earlier looks decided about each test. It leaves the family in which it was
            rejected, and is not tested again in the other.

    Source: Holm 1979, Scand. J. Statist. 6:65.
    """
    others = [1.0] * (n_verdicts - len(tests))
    settled = settled or [None] * len(tests)

    def family(values: Sequence[float], *rejections: Decision) -> list[float]:
        known = [
            value if decision is None else float(decision not in rejections)
            for value, decision in zip(values, settled, strict=True)
        ]
        return holm([*known, *others], look.factor)

    differences = family([test.difference for test in tests], Decision.HIGHER, Decision.LOWER)
    equivalences = family([test.equivalence for test in tests], Decision.EQUIVALENT)
    return [
        PValues(difference=differences[index], equivalence=equivalences[index])
        for index in range(len(tests))
    ]


def holm(p_values: Sequence[float], factor: Callable[[int], float] = float) -> list[float]:
    """Return Holm's step-down correction, in the order given.

    Equal to statsmodels' `multipletests(method="holm")`, whose garbage collection at every call
    took most of a report's time.

    Args:
        p_values: Of one family.
        factor: Gives what a p value is multiplied by in a family of so many tests.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    ordered = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ordered):
        value = factor(len(p_values) - rank) * p_values[index]
        largest = max(largest, min(1.0, value))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is decided about one estimate, and on what grounds."""

    interval: Interval
    tests: PValues
    corrected: PValues
    """After Holm's correction."""
    decision: Decision


def decide_together(
    estimates: Sequence[Estimate],
    rules: Rules,
    *,
    n_verdicts: int | None = None,
    settled: Sequence[Decision | None] = (),
) -> list[Verdict]:
    """Return the verdicts on the estimates of one comparison.

    This is the one rule: run variances are moderated over all of them, and p values corrected.

    Args:
        estimates: Of all arms and cells that have any.
        rules: Margin, confidence and look.
        n_verdicts: Planned, where there are more than estimates.
        settled: What earlier looks decided about each.
    """
    (found,) = decide_each([estimates], rules, n_verdicts=n_verdicts, settled=[settled])
    return found


def decide_each(
    comparisons: Sequence[Sequence[Estimate]],
    rules: Rules,
    *,
    n_verdicts: int | None = None,
    settled: Sequence[Sequence[Decision | None]] = (),
) -> list[list[Verdict]]:
    """Return what `decide_together` says of each comparison, in a fraction of the time."""
    errors = [moderated_errors(estimates) for estimates in comparisons]
    tests = iter(run_tests(list(chain(*comparisons)), list(chain(*errors)), rules.margin))
    found = []
    settled = settled or [()] * len(comparisons)
    for estimates, of_estimates, earlier in zip(comparisons, errors, settled, strict=True):
        own = [next(tests) for _ in estimates]
        corrected = correct_together(own, n_verdicts or len(own), rules.look, earlier)
        found.append(
            [
                Verdict(
                    interval=Interval.of(estimate, error, rules.confidence),
                    tests=test,
                    corrected=together,
                    decision=decide(estimate, together, rules),
                )
                for estimate, error, test, together in zip(
                    estimates, of_estimates, own, corrected, strict=True
                )
            ]
        )
    return found


def decide(estimate: Estimate, corrected: PValues, rules: Rules) -> Decision:
    """Return what is decided about one difference.

    It is higher or lower where no difference is refuted and the estimate exceeds the margin. It is
    equivalent to none where a difference as large as the margin is refuted on both sides; for a
    single difference that is an interval inside the margin. All else is undecided, and so is every
    difference that rests on one replicate.
    """
    if estimate.n_replicates < MIN_REPLICATES_TO_DECIDE:
        return Decision.UNDECIDED
    if corrected.equivalence <= rules.level / 2:
        return Decision.EQUIVALENT
    if corrected.difference <= rules.level and abs(estimate.value) > rules.margin:
        return Decision.HIGHER if estimate.value > 0 else Decision.LOWER
    return Decision.UNDECIDED
