"""Each regime against the reference, cell by cell: paired, with interval and verdict."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import Interval, PairedDifference, paired_interval, subtract
from ecgopt.analysis.mean_error import FEW
from ecgopt.analysis.power import further_replicates
from ecgopt.analysis.verdict import (
    PValues,
    Verdict,
    correct_for_cells,
    decide,
    run_tests,
)
from ecgopt.evidence.records import (
    CellKey,
    Comparison,
    Evidence,
    FinalEvidence,
    FinalRole,
)
from ecgopt.training.metrics import PRIMARY

InfluenceOf = Callable[[FinalEvidence], PatientInfluence | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """One regime against the reference in one cell."""

    cell: CellKey
    reference: str
    regime: str
    role: FinalRole
    differences: Mapping[Pair, PairedDifference]
    interval: Interval | None
    """None while no pair of finals is complete."""
    margin: float
    tests: PValues | None
    corrected: PValues | None
    """After Holm's correction over the cells."""
    verdict: Verdict
    further_replicates: int | None
    caveats: tuple[str, ...]

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
    evidence: Evidence, influence_of: InfluenceOf, *, role: FinalRole = "tuned"
) -> list[CellComparison]:
    """Return each regime against the reference in each cell, Holm-corrected per regime."""
    comparison = evidence.comparison
    reference, *others = comparison.regimes
    arms = sort_into_arms(evidence)
    found: list[CellComparison] = []
    for regime in others:
        cells = [
            _compare(of_cell[reference], of_cell[regime], comparison, influence_of, role)
            for of_cell in arms.values()
        ]
        found.extend(_with_verdicts(cells))
    return found


def _compare(
    reference: Arm, arm: Arm, comparison: Comparison, influence_of: InfluenceOf, role: FinalRole
) -> CellComparison:
    differences = pair_finals(reference, arm, influence_of, role=role)
    interval = None
    if differences:
        interval = paired_interval(differences, confidence=comparison.confidence)
    return CellComparison(
        cell=arm.cell,
        reference=reference.regime,
        regime=arm.regime,
        role=role,
        differences=differences,
        interval=interval,
        margin=comparison.margin,
        tests=run_tests(interval, comparison.margin) if interval else None,
        corrected=None,
        verdict="undecided",
        further_replicates=None,
        caveats=(),
    )


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


def _with_verdicts(cells: Sequence[CellComparison]) -> list[CellComparison]:
    tested = [cell for cell in cells if cell.tests is not None]
    corrections = correct_for_cells([cell.tests for cell in tested if cell.tests is not None])
    corrected_of = {
        id(cell): corrected for cell, corrected in zip(tested, corrections, strict=True)
    }
    return [_with_verdict(cell, corrected_of.get(id(cell)), n_cells=len(tested)) for cell in cells]


def _with_verdict(
    cell: CellComparison, corrected: PValues | None, *, n_cells: int
) -> CellComparison:
    if cell.interval is None or corrected is None or cell.tests is None:
        return replace(cell, caveats=("no pair of final fits is complete yet",))
    verdict = decide(cell.interval, corrected, cell.margin)
    further = None
    if verdict == "undecided":
        further = further_replicates(cell.interval, margin=cell.margin, n_cells=n_cells)
    alone = decide(cell.interval, cell.tests, cell.margin)
    caveats = _caveats(cell, cell.interval)
    if alone != verdict:
        caveats = (*caveats, f"alone this cell would read {alone!r}; not after Holm over all cells")
    return replace(
        cell, corrected=corrected, verdict=verdict, further_replicates=further, caveats=caveats
    )


def _caveats(cell: CellComparison, interval: Interval) -> tuple[str, ...]:
    found = []
    if math.isinf(interval.error.standard_error):
        found.append("one pair without predictions: its uncertainty cannot be known")
    elif interval.error.n_patients == 0:
        found.append("predictions were not kept: the interval lacks the patients' part")
    if cell.n_replicates == 1:
        found.append(
            "one replicate: the interval holds seeds and patients only, not what another subset, "
            "split or search would give"
        )
    elif cell.n_replicates < FEW:
        found.append(
            f"{cell.n_replicates} replicates: a t interval on so few is valid but wide; "
            f"{FEW} or more are advised"
        )
    return tuple(found)
