"""What the predictions of a final fit say beyond the scores stored with it, read only once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgopt.analysis.challenge import challenge_score, weights_for
from ecgopt.analysis.classification import TrivialScores, trivial_scores
from ecgopt.analysis.influence import PatientInfluence, influence_of_patients
from ecgopt.evidence.predictions import Predictions, read_predictions
from ecgopt.evidence.records import FinalEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one file of test predictions says."""

    influence: PatientInfluence
    trivial: TrivialScores
    n_records: int
    challenge: float | None
    """The CinC 2020 score at the thresholds from validation; None where its weights do not cover
    the labels or no thresholds are stored."""


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
        trivial=trivial_scores(predictions.labels),
        n_records=len(predictions.labels),
        challenge=_challenge(final, predictions),
    )


def _challenge(final: FinalEvidence, predictions: Predictions) -> float | None:
    weights = weights_for(predictions.classes)
    if weights is None or any(name not in final.thresholds for name in predictions.classes):
        return None
    thresholds = np.array([final.thresholds[name] for name in predictions.classes])
    return challenge_score(predictions.labels, predictions.scores >= thresholds, weights)
