"""How much each patient moves a macro AUROC: the record-level part of every interval.

The influence of a record is the first-order change of the score when its weight grows, so sums of
products over patients are the covariances that resampling patients jointly in all runs would
give, without the resampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.evidence.records import Predictions
from ecgopt.shapes import Bool, Float, Int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientInfluence:
    """The influence of each patient on the macro AUROC of one run; the values sum to zero."""

    macro_auroc: float
    """The mean over the labels that are not left out."""
    patients: tuple[str, ...]
    values: Float[np.ndarray, " patient"]
    left_out: tuple[int, ...] = ()
    """Positions of the labels that too few patients carry, or lack."""
    fewest: int = 0
    """Patients that carry the rarest label of the mean, or lack the commonest one."""


def influence_of_patients(
    predictions: Predictions, *, least_positives: int = 2
) -> PatientInfluence:
    """Return the influence of each patient, the sum of whose squares is the variance.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837 (placements, with m - 1), summed
    within patients as in Obuchowski 1997, Biometrics 53:567, and averaged over labels.

    Args:
        predictions: Of one run on the test.
        least_positives: Patients who must carry a label and who must lack it, at least 2; a label
            with fewer is left out of the mean.
    """
    patients, owner = np.unique(np.array(predictions.patients), return_inverse=True)
    labels, scores = predictions.labels, predictions.scores
    counts = [
        min(len(np.unique(owner[labels[:, label]])), len(np.unique(owner[~labels[:, label]])))
        for label in range(labels.shape[1])
    ]
    kept = [label for label, count in enumerate(counts) if count >= max(least_positives, 2)]
    left_out = tuple(label for label in range(labels.shape[1]) if label not in kept)
    if not kept:
        values = np.full(len(patients), np.nan)
        return PatientInfluence(
            macro_auroc=float("nan"),
            patients=tuple(patients.tolist()),
            values=values,
            left_out=left_out,
        )
    aurocs, influences = zip(
        *(_auroc_and_influence(labels[:, label], scores[:, label], owner) for label in kept),
        strict=True,
    )
    return PatientInfluence(
        macro_auroc=float(np.mean(aurocs)),
        patients=tuple(patients.tolist()),
        values=np.mean(influences, axis=0),
        left_out=left_out,
        fewest=min(counts[label] for label in kept),
    )


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
