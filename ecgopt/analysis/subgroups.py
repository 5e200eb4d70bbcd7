"""Each arm against the reference by sex and by age group of the test patients."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ecgopt.analysis.interval import Interval
from ecgopt.analysis.parts import PredictionsOf, compare_parts
from ecgopt.analysis.verdict import Decision
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import CellKey, Evidence

_SIGN = ": "
"""Between what divides the patients and the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubgroupComparison:
    """The macro AUROC among the test patients of one group: an arm minus the reference."""

    cell: CellKey
    reference: str
    regime: str
    by: str
    """What divides the patients: `sex` or `age`."""
    group: str
    n_patients: int
    left_out: tuple[str, ...]
    """Labels that too few patients of the group carry, or lack."""
    n_labels: int
    """Labels of the mean."""
    scores: tuple[Interval, Interval]
    """Of the reference and of the arm."""
    interval: Interval
    p_difference: float
    """After Holm's correction over all groups, arms and cells."""
    decision: Decision
    winner: str | None
    """The arm that wins, by name; None where no arm does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallGroup:
    """A group of a test without a score, because no label has enough patients in it."""

    downstream: str
    by: str
    group: str
    """Empty where sex or age is not stated."""
    n_patients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroups:
    """The groups of all cells whose planned final fits are all there."""

    comparisons: tuple[SubgroupComparison, ...] = ()
    left_out: tuple[SmallGroup, ...] = ()
    not_recorded: tuple[str, ...] = ()
    """Downstreams whose predictions do not say to which group a patient belongs."""


def compare_subgroups(evidence: Evidence, predictions_of: PredictionsOf) -> Subgroups:
    """Return every arm against the reference for each group of test patients.

    A patient with records in two age groups is in both. The macro AUROC of a group is that over
    the labels that enough of its patients carry and lack, so groups differ in their labels.
    """
    parts = compare_parts(evidence, predictions_of, _groups)
    small = {
        (part.cell.downstream, part.name): _small(part.cell.downstream, part.name, part.tested)
        for part in parts.too_small
    }
    for cell, tested in parts.tests.items():
        for by, groups in tested.subgroups.items():
            if unknown := _patients(tested, np.array(groups) == ""):
                small[cell.downstream, by] = SmallGroup(
                    downstream=cell.downstream, by=by, group="", n_patients=unknown
                )
    divided = {found.cell for found in parts.comparisons}
    divided |= {part.cell for part in parts.too_small}
    return Subgroups(
        comparisons=tuple(
            SubgroupComparison(
                cell=found.cell,
                reference=found.reference,
                regime=found.regime,
                by=found.part.name.partition(_SIGN)[0],
                group=found.part.name.partition(_SIGN)[2],
                n_patients=len(set(found.part.tested.patients)),
                left_out=found.part.left_out,
                n_labels=len(found.part.tested.classes) - len(found.part.left_out),
                scores=found.scores,
                interval=found.interval,
                p_difference=found.p_difference,
                decision=found.decision,
                winner=found.winner,
            )
            for found in parts.comparisons
        ),
        left_out=tuple(small.values()),
        not_recorded=tuple(
            dict.fromkeys(
                cell.downstream
                for cell, test in parts.tests.items()
                if cell not in divided and not any(map(any, test.subgroups.values()))
            )
        ),
    )


def _groups(predictions: Predictions) -> Iterator[tuple[str, Predictions]]:
    for by, groups in predictions.subgroups.items():
        of_record = np.array(groups)
        for group in sorted(set(groups) - {""}, key=_order):
            is_in = of_record == group
            yield f"{by}{_SIGN}{group}", _only(predictions, is_in)


def _order(group: str) -> tuple[bool, str]:
    """Sort ages from young to old, and sexes by name."""
    return not group.startswith("under"), group


def _only(predictions: Predictions, is_in: np.ndarray) -> Predictions:
    rows = np.flatnonzero(is_in).tolist()
    return replace(
        predictions,
        labels=predictions.labels[is_in],
        scores=predictions.scores[is_in],
        records=tuple(predictions.records[row] for row in rows),
        patients=tuple(predictions.patients[row] for row in rows),
        subgroups={},
    )


def _patients(predictions: Predictions, is_in: np.ndarray) -> int:
    return len(np.unique(np.array(predictions.patients)[is_in]))


def _small(downstream: str, name: str, tested: Predictions) -> SmallGroup:
    by, _, group = name.partition(_SIGN)
    n_patients = len(set(tested.patients))
    return SmallGroup(downstream=downstream, by=by, group=group, n_patients=n_patients)
