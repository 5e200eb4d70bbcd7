"""Each arm against the reference, cell by cell: paired, with interval and verdict."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import Interval, PairedDifference, paired_interval, subtract
from ecgopt.analysis.mean_error import FEW
from ecgopt.analysis.power import further_replicates
from ecgopt.analysis.verdict import (
    MIN_REPLICATES_TO_DECIDE,
    Decision,
    PValues,
    correct_together,
    decide,
    run_tests,
)
from ecgopt.evidence.records import (
    CellKey,
    Evidence,
    FinalEvidence,
    FinalRole,
)
from ecgopt.training.metrics import PRIMARY

InfluenceOf = Callable[[FinalEvidence], PatientInfluence | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is decided about one difference, and on what grounds."""

    decision: Decision
    """About the arm's score minus the reference's."""
    tests: PValues | None
    corrected: PValues | None
    """After Holm's correction over all arms and cells."""
    further_replicates: int | None
    """That would probably decide it; None where it is decided or no number would."""
    caveats: tuple[str, ...]


_NOT_JUDGED = Judgement(
    decision=Decision.UNDECIDED,
    tests=None,
    corrected=None,
    further_replicates=None,
    caveats=("no pair of final fits is complete yet",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """One arm against the reference in one cell."""

    cell: CellKey
    reference: str
    regime: str
    role: FinalRole
    differences: Mapping[Pair, PairedDifference]
    interval: Interval | None
    """None while no pair of finals is complete."""
    margin: float
    judgement: Judgement

    @property
    def decision(self) -> Decision:
        """What is decided about the arm's score minus the reference's."""
        return self.judgement.decision

    @property
    def winner(self) -> str | None:
        """The arm that wins, by name; None where no arm does."""
        return {Decision.HIGHER: self.regime, Decision.LOWER: self.reference}.get(self.decision)

    @property
    def verdict(self) -> str:
        """`NAME wins`, `equivalent` or `undecided`."""
        return str(self.decision) if self.winner is None else f"{self.winner} wins"

    @property
    def n_replicates(self) -> int:
        """Replicates with at least one complete pair."""
        return len({replicate for replicate, _ in self.differences})

    @property
    def share_won(self) -> float:
        """Share of pairs in which the regime scored higher, ties counting one half."""
        values = [difference.value for difference in self.differences.values()]
        return sum((value > 0) + 0.5 * (value == 0) for value in values) / max(len(values), 1)


def compare_cells(
    evidence: Evidence,
    influence_of: InfluenceOf,
    *,
    role: FinalRole = "tuned",
    reference: str | None = None,
    others: Sequence[str] | None = None,
) -> list[CellComparison]:
    """Return arms against a reference in each cell, Holm-corrected over all of them.

    Args:
        evidence: Of one comparison.
        influence_of: Gives a final fit's patient influences, or None where they are not kept.
        role: Which final fits are compared.
        reference: Name of the reference arm; the study file's first arm by default.
        others: Names of the arms compared with it; all other arms by default.
    """
    comparison = evidence.comparison
    reference = comparison.regimes[0] if reference is None else reference
    if others is None:
        others = [name for name in comparison.regimes if name != reference]
    arms = sort_into_arms(evidence)
    compared = [(of_cell[reference], of_cell[name]) for name in others for of_cell in arms.values()]
    differences = [pair_finals(*both, influence_of, role=role) for both in compared]
    intervals = [
        paired_interval(found, confidence=comparison.confidence) if found else None
        for found in differences
    ]
    tests = [run_tests(interval, comparison.margin) for interval in intervals if interval]
    alone, corrected = iter(tests), iter(correct_together(tests))
    found = []
    for (theirs, ours), differing, interval in zip(compared, differences, intervals, strict=True):
        judged = (
            _judge(interval, next(alone), next(corrected), comparison.margin, len(tests))
            if interval
            else _NOT_JUDGED
        )
        found.append(
            CellComparison(
                cell=ours.cell,
                reference=theirs.regime,
                regime=ours.regime,
                role=role,
                differences=differing,
                interval=interval,
                margin=comparison.margin,
                judgement=judged,
            )
        )
    return found


def pair_finals(
    reference: Arm, arm: Arm, influence_of: InfluenceOf, *, role: FinalRole
) -> dict[Pair, PairedDifference]:
    """Return arm minus reference wherever both have a final of equal replicate and seed index."""
    ours, theirs = arm.finals_by_pair(role), reference.finals_by_pair(role)
    return {
        pair: subtract(_scored(ours[pair], influence_of), _scored(theirs[pair], influence_of))
        for pair in ours
        if pair in theirs
    }


def _scored(final: FinalEvidence, influence_of: InfluenceOf) -> PairedDifference:
    return PairedDifference(value=final.metrics[PRIMARY], influence=influence_of(final))


def _judge(
    interval: Interval, alone: PValues, corrected: PValues, margin: float, n_verdicts: int
) -> Judgement:
    decision = decide(interval, corrected, margin)
    caveats = _caveats(interval)
    if (by_itself := decide(interval, alone, margin)) is not decision:
        caveats = (
            *caveats,
            f"by itself this difference reads {str(by_itself)!r}; corrected for all "
            f"{n_verdicts} verdicts it does not",
        )
    further = None
    if decision is Decision.UNDECIDED:
        further = further_replicates(interval, margin=margin, n_verdicts=n_verdicts)
    return Judgement(
        decision=decision,
        tests=alone,
        corrected=corrected,
        further_replicates=further,
        caveats=caveats,
    )


def _caveats(interval: Interval) -> tuple[str, ...]:
    found = []
    if math.isinf(interval.error.standard_error):
        found.append("one pair without predictions: its uncertainty cannot be known")
    elif interval.error.n_patients == 0:
        found.append("predictions were not kept: the interval lacks the patients' part")
    if interval.n_replicates < MIN_REPLICATES_TO_DECIDE:
        found.append(
            "one replicate is always undecided: the interval holds seeds and patients only, not "
            "what another subset, split or search would give"
        )
    elif interval.n_replicates < FEW:
        found.append(
            f"with {interval.n_replicates} replicates the interval is very wide "
            f"({interval.n_replicates - 1} degree{'s' * (interval.n_replicates > 2)} of freedom): "
            f"{FEW} or more are advised"
        )
    return tuple(found)
