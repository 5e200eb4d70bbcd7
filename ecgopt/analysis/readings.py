"""What the predictions of a final fit say beyond the scores stored with it, read only once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ecgopt.analysis.influence import PatientInfluence, influence_of_patients
from ecgopt.evidence.predictions import Predictions, read_predictions
from ecgopt.evidence.records import Comparison, Evidence, FinalEvidence
from ecgopt.evidence.rescore import scores_of
from ecgopt.training.metrics import (
    PRIMARY,
    Metric,
    chosen_metrics,
    decision_metric,
    trivial_scores,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one file of test predictions says."""

    influence: PatientInfluence
    """On what the verdict rests on."""
    macro_auroc: float
    """Over the labels that are not rare."""
    rare: tuple[str, ...]
    """Labels left out because too few test patients carry or lack them."""
    scores: Mapping[str, float]
    """By metric, as far as predictions and thresholds determine it."""
    trivial: Mapping[str, float]
    """What the best predictor scores that says the same about every record, by metric."""
    n_records: int
    positives: Mapping[str, int]
    """Records that carry each label."""


class Readings:
    """The predictions of a workspace, each file read and checked once."""

    def __init__(self, workspace: Path, comparison: Comparison) -> None:
        self._workspace = workspace
        self._least_positives = comparison.least_positives
        self.decided_by = decision_metric(comparison.metric, comparison.metrics)
        self.metrics: Mapping[str, Metric] = chosen_metrics(comparison.metrics)
        self._known: dict[str, Reading] = {}
        self._errors: dict[str, float] = {}

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
            self._known[final.predictions] = _read(
                final, predictions, self._least_positives, self.metrics, self.decided_by
            )
        return self._known[final.predictions]

    def predictions(self, final: FinalEvidence) -> Predictions | None:
        """Return the test predictions, read from the file again; None where they were not kept."""
        if final.predictions is None:
            return None
        return read_predictions(self._workspace / final.predictions, final.predictions_sha256)

    def influence(self, final: FinalEvidence) -> PatientInfluence | None:
        """Return each patient's influence; None where predictions were not kept."""
        reading = self(final)
        return None if reading is None else reading.influence

    def validation_error(self, final: FinalEvidence) -> float | None:
        """Return the error of a validation macro AUROC that its patients leave; None if unknown."""
        if final.validation_predictions is None:
            return None
        if final.validation_predictions not in self._errors:
            path = self._workspace / final.validation_predictions
            predictions = read_predictions(path, final.validation_predictions_sha256)
            influence = influence_of_patients(predictions)
            self._errors[final.validation_predictions] = math.sqrt((influence.values**2).sum())
        found = self._errors[final.validation_predictions]
        return found if math.isfinite(found) else None

    def without_rare_labels(self, evidence: Evidence) -> Evidence:
        """Return the evidence with scores over the labels that enough test patients carry.

        Those are the macro AUROC and the metric that the verdict rests on. The labels left out are
        named. A test curve covers all labels and can no longer be compared.
        """
        return replace(evidence, finals=tuple(map(self._without_rare_labels, evidence.finals)))

    def _without_rare_labels(self, final: FinalEvidence) -> FinalEvidence:
        reading = self(final)
        if reading is None or set(reading.rare) <= set(final.left_out):
            return final
        return replace(
            final,
            metrics={
                **final.metrics,
                self.decided_by.name: self.decided_by.oriented(reading.influence.score),
                PRIMARY: reading.macro_auroc,
            },
            left_out=tuple(dict.fromkeys((*final.left_out, *reading.rare))),
            test_curve=(),
        )


def _read(
    final: FinalEvidence,
    predictions: Predictions,
    least_positives: int,
    metrics: Mapping[str, Metric],
    decided_by: Metric,
) -> Reading:
    of_auroc = influence = influence_of_patients(predictions, least_positives=least_positives)
    if decided_by.name != PRIMARY:
        influence = influence_of_patients(
            predictions,
            least_positives=least_positives,
            metric=decided_by,
            thresholds=final.thresholds,
        )
    return Reading(
        influence=influence,
        macro_auroc=of_auroc.score,
        rare=tuple(predictions.classes[label] for label in of_auroc.left_out),
        scores=scores_of(predictions, final.thresholds, metrics),
        trivial=trivial_scores(predictions.labels, metrics),
        n_records=len(predictions.labels),
        positives=dict(
            zip(predictions.classes, map(int, predictions.labels.sum(axis=0)), strict=True)
        ),
    )
