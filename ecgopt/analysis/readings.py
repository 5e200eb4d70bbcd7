"""What the predictions of a final fit say beyond the scores stored with it, read only once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ecgopt.analysis.influence import PatientInfluence, influence_of_patients
from ecgopt.evidence.predictions import Predictions, read_predictions
from ecgopt.evidence.records import FinalEvidence
from ecgopt.evidence.rescore import scores_of
from ecgopt.training.metrics import trivial_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one file of test predictions says."""

    influence: PatientInfluence
    scores: Mapping[str, float]
    """By metric, as far as predictions and thresholds determine it."""
    trivial: Mapping[str, float]
    """What the best predictor scores that says the same about every record, by metric."""
    n_records: int


class Readings:
    """The predictions of a workspace, each file read and checked once."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._known: dict[str, Reading] = {}

    def __call__(self, final: FinalEvidence) -> Reading | None:
        """Return the reading of `final`; None where its predictions were not kept.

        Raises:
            DataError: the file is missing or was altered.
        """
        if final.predictions is None:
            return None
        if final.predictions not in self._known:
            path = self._workspace / final.predictions
            predictions = read_predictions(path, final.predictions_sha256)
            self._known[final.predictions] = _read(final, predictions)
        return self._known[final.predictions]


def _read(final: FinalEvidence, predictions: Predictions) -> Reading:
    return Reading(
        influence=influence_of_patients(predictions),
        scores=scores_of(predictions, final.thresholds),
        trivial=trivial_scores(predictions.labels),
        n_records=len(predictions.labels),
    )
