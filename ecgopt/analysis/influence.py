"""How much each patient moves a test score: the record-level part of every interval.

The influence of a record is the first-order change of the score when its weight grows, so sums of
products over patients are the covariances that resampling patients jointly in all runs would
give, without the resampling.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ecgopt.evidence.records import Predictions
from ecgopt.evidence.rescore import tested
from ecgopt.shapes import Bool, Float, Int
from ecgopt.training.metrics import METRICS, PRIMARY, Metric, Tested


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientInfluence:
    """The influence of each patient on the score of one run; the values sum to zero."""

    score: float
    """Over the labels that are not left out; by default the macro AUROC. Higher is better: a metric
    of which lower is better counts with its sign turned."""
    patients: tuple[str, ...]
    values: Float[np.ndarray, " patient"]
    left_out: tuple[int, ...] = ()
    """Positions of the labels that too few patients carry, or lack."""
    fewest: int = 0
    """Patients that carry the rarest label of the mean, or lack the commonest one."""


def influence_of_patients(
    predictions: Predictions,
    *,
    least_positives: int = 2,
    metric: Metric = METRICS[PRIMARY],
    thresholds: Mapping[str, float] | None = None,
) -> PatientInfluence:
    """Return the influence of each patient, the sum of whose squares is the variance.

    That on a macro AUROC follows DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837
    (placements, with m - 1), summed within patients as in Obuchowski 1997, Biometrics 53:567, and
    averaged over labels; that on a macro AUPRC is its derivative, with the same m - 1; that on any
    other metric is the jackknife: the metric without each patient.

    Args:
        predictions: Of one run on the test.
        least_positives: Patients who must carry a label and who must lack it, at least 2; a label
            with fewer is left out of the mean.
        metric: What is scored. One that scores all labels together leaves none out.
        thresholds: Of each label, for a metric that needs them.
    """
    patients, owner = np.unique(np.array(predictions.patients), return_inverse=True)
    labels, scores = predictions.labels, predictions.scores
    counts = [
        min(len(np.unique(owner[labels[:, label]])), len(np.unique(owner[~labels[:, label]])))
        for label in range(labels.shape[1])
    ]
    everything = range(labels.shape[1])
    is_rare = [count < max(least_positives, 2) and not metric.joins_labels for count in counts]
    kept = [label for label in everything if not is_rare[label]]
    left_out = tuple(label for label in everything if is_rare[label])
    if not kept:
        score, values = float("nan"), np.full(len(patients), np.nan)
    elif (rule := _BY_LABEL.get(metric.name)) is not None:
        by_label = [rule(labels[:, label], scores[:, label], owner) for label in kept]
        score = float(np.mean([of_label for of_label, _ in by_label]))
        values = np.mean([of_patients for _, of_patients in by_label], axis=0)
    else:
        score, values = _jackknife(tested(predictions, thresholds or {}), kept, owner, metric)
    return PatientInfluence(
        score=score,
        patients=tuple(patients.tolist()),
        values=values,
        left_out=left_out,
        fewest=min((counts[label] for label in kept), default=0),
    )


def _jackknife(
    whole: Tested, kept: Sequence[int], owner: Int[np.ndarray, " record"], metric: Metric
) -> tuple[float, Float[np.ndarray, " patient"]]:
    """Return a score, higher is better, and what each patient adds to it."""

    def score(records: Bool[np.ndarray, " record"]) -> float:
        part = metric.score(
            Tested(
                classes=tuple(whole.classes[label] for label in kept) if whole.classes else (),
                labels=whole.labels[records][:, kept],
                scores=whole.scores[records][:, kept],
                thresholds=None if whole.thresholds is None else whole.thresholds[kept],
            )
        )
        return metric.oriented(float("nan") if part is None else part)

    n_patients = int(owner.max()) + 1
    without = np.array([score(owner != patient) for patient in range(n_patients)])
    scale = np.sqrt((n_patients - 1) / n_patients)
    return score(np.ones(len(owner), dtype=bool)), scale * (without.mean() - without)


def _auroc_and_influence(
    labels: Bool[np.ndarray, " record"],
    scores: Float[np.ndarray, " record"],
    owner: Int[np.ndarray, " record"],
) -> tuple[float, Float[np.ndarray, " patient"]]:
    """Return the AUROC of one label and each patient's influence on it (ties count one half)."""
    positives, negatives = np.sort(scores[labels]), np.sort(scores[~labels])
    below = _share_below(negatives, scores[labels])
    above = 1.0 - _share_below(positives, scores[~labels])
    auroc = float(below.mean())
    influence = np.empty(len(scores))
    for group, placements in ((labels, below), (~labels, above)):
        n_patients = len(np.unique(owner[group]))
        unbiased = np.sqrt(n_patients / (n_patients - 1))
        influence[group] = (placements - auroc) / len(placements) * unbiased
    return auroc, np.bincount(owner, weights=influence)


def _precision_and_influence(
    labels: Bool[np.ndarray, " record"],
    scores: Float[np.ndarray, " record"],
    owner: Int[np.ndarray, " record"],
) -> tuple[float, Float[np.ndarray, " patient"]]:
    """Return the average precision of one label and each patient's influence on it.

    It is the mean, over positives, of the precision among records that score as high: a record
    changes those of all positives at or below it, and a positive changes the mean too.
    """
    positives, everyone = np.sort(scores[labels]), np.sort(scores)
    n_at_least = len(everyone) - np.searchsorted(everyone, positives, "left")
    true_at_least = len(positives) - np.searchsorted(positives, positives, "left")
    precisions = true_at_least / n_at_least
    average = float(precisions.mean())
    places = np.searchsorted(positives, scores, "right")
    gains, costs = (
        np.concatenate([[0.0], np.cumsum(parts / n_at_least)])[places]
        for parts in (np.ones(len(positives)), precisions)
    )
    influence = labels * gains - costs
    own = np.searchsorted(positives, scores[labels], "left")
    influence[labels] += precisions[own] - average
    influence /= len(positives)
    for group in (labels, ~labels):
        n_patients = len(np.unique(owner[group]))
        influence[group] *= np.sqrt(n_patients / max(n_patients - 1, 1))
    return average, np.bincount(owner, weights=influence - influence.mean())


_BY_LABEL: Final[
    Mapping[
        str,
        Callable[
            [Bool[np.ndarray, " record"], Float[np.ndarray, " record"], Int[np.ndarray, " record"]],
            tuple[float, Float[np.ndarray, " patient"]],
        ],
    ]
] = {PRIMARY: _auroc_and_influence, "macro_auprc": _precision_and_influence}
"""Metrics whose influence has a closed form, for each label."""


def _share_below(
    ordered: Float[np.ndarray, " record"], values: Float[np.ndarray, " other"]
) -> Float[np.ndarray, " other"]:
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(twice / (2.0 * len(ordered)))


def align_influences(
    influences: Sequence[PatientInfluence],
) -> tuple[tuple[str, ...], Float[np.ndarray, "replicate patient"]]:
    """Return all patients of `influences` and one row per run; 0 where a run lacks a patient."""
    first = influences[0].patients
    if all(influence.patients == first for influence in influences):
        return first, np.stack([influence.values for influence in influences])
    everyone = sorted({patient for influence in influences for patient in influence.patients})
    place = {patient: index for index, patient in enumerate(everyone)}
    rows = np.zeros((len(influences), len(everyone)))
    for row, influence in zip(rows, influences, strict=True):
        row[[place[patient] for patient in influence.patients]] = influence.values
    return tuple(everyone), rows
