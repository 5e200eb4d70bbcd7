"""Each arm against the reference, label by label."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ecgopt.analysis.interval import Interval
from ecgopt.analysis.parts import PredictionsOf, compare_parts
from ecgopt.analysis.verdict import Decision
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import CellKey, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelComparison:
    """The AUROC of one label: an arm minus the reference, in one cell."""

    cell: CellKey
    reference: str
    regime: str
    label: str
    n_positives: int
    """Test patients who carry the label."""
    scores: tuple[float, float]
    """Mean AUROC of the reference and of the arm."""
    interval: Interval
    p_difference: float
    """After Holm's correction over all labels, arms and cells."""
    decision: Decision
    winner: str | None
    """The arm that wins, by name; None where no arm does."""


def compare_labels(evidence: Evidence, predictions_of: PredictionsOf) -> list[LabelComparison]:
    """Return every arm against the reference for each label that enough test patients carry."""
    return [
        LabelComparison(
            cell=found.cell,
            reference=found.reference,
            regime=found.regime,
            label=found.part.name,
            n_positives=_positive_patients(found.part.tested),
            scores=(found.scores[0].estimate, found.scores[1].estimate),
            interval=found.interval,
            p_difference=found.p_difference,
            decision=found.decision,
            winner=found.winner,
        )
        for found in compare_parts(evidence, predictions_of, _labels).comparisons
    ]


def _labels(predictions: Predictions) -> Iterator[tuple[str, Predictions]]:
    for index, label in enumerate(predictions.classes):
        yield (
            label,
            replace(
                predictions,
                labels=predictions.labels[:, [index]],
                scores=predictions.scores[:, [index]],
                classes=(label,),
            ),
        )


def _positive_patients(tested: Predictions) -> int:
    return len(np.unique(np.array(tested.patients)[tested.labels[:, 0]]))
