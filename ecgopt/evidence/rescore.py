"""The scores of a final fit computed again from its stored predictions."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ecgopt.evidence.predictions import Predictions, read_predictions
from ecgopt.evidence.records import FinalEvidence
from ecgopt.training.metrics import (
    METRICS,
    Metric,
    Tested,
    all_scores,
    best_thresholds,
    macro_auroc,
)

Rescored = tuple[str, float, float]
"""Name, stored value, value computed again."""


def rescore(
    final: FinalEvidence, root: Path, metrics: Mapping[str, Metric] = METRICS
) -> Iterator[Rescored]:
    """Yield every score and threshold of `final` that its predictions determine.

    Args:
        final: With the paths of its predictions.
        root: Folder that the paths are relative to.
        metrics: Those of the comparison, by name.

    Raises:
        DataError: a file is missing or was altered.
    """
    if final.predictions is None:
        return
    test = read_predictions(root / final.predictions, final.predictions_sha256)
    known = scores_of(test, final.thresholds, metrics)
    for name, stored in final.metrics.items():
        if name in known:
            yield name, stored, known[name]
    aurocs = macro_auroc(test.labels, test.scores).per_label
    for label, auroc in zip(test.classes, aurocs, strict=True):
        if label in final.per_label:
            yield f"AUROC of {label}", final.per_label[label], float(auroc)
    yield from _thresholds(final, root)


def _thresholds(final: FinalEvidence, root: Path) -> Iterator[Rescored]:
    if final.validation_predictions is None or not final.thresholds:
        return
    path = root / final.validation_predictions
    validation = read_predictions(path, final.validation_predictions_sha256)
    found = best_thresholds(validation.labels, validation.scores)
    for label, threshold in zip(validation.classes, found, strict=True):
        stored = final.thresholds.get(label, math.nan)
        # Infinity says that the label is never predicted; two infinities have no difference.
        is_never = math.isinf(stored) and math.isinf(threshold)
        yield f"threshold of {label}", 0.0 if is_never else stored, 0.0 if is_never else threshold


def scores_of(
    test: Predictions,
    thresholds: Mapping[str, float],
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, float]:
    """Return the scores of predictions by name, those that need thresholds only where all are."""
    return all_scores(tested(test, thresholds), metrics)


def tested(test: Predictions, thresholds: Mapping[str, float]) -> Tested:
    """Return predictions with the thresholds of their labels, where all are known."""
    is_known = all(name in thresholds for name in test.classes)
    chosen = np.array([thresholds[name] for name in test.classes]) if is_known else None
    return Tested(classes=test.classes, labels=test.labels, scores=test.scores, thresholds=chosen)
