"""How much each patient moves a macro AUROC: the record-level part of every interval.

The influence of a record is the first-order change of the score when its weight grows, so sums of
products over patients are the covariances that resampling patients jointly in all runs would
give, without the resampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.evidence.records import Predictions
from ecgopt.shapes import Bool, Float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientInfluence:
    """The influence of each patient on the macro AUROC of one run; the values sum to zero."""

    macro_auroc: float
    patients: tuple[str, ...]
    values: Float[np.ndarray, " patient"]


def influence_of_patients(predictions: Predictions) -> PatientInfluence:
    """Return the influence of each patient, labels without both classes left out.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837 (placements), summed within
    patients as in Obuchowski 1997, Biometrics 53:567, and averaged over labels.
    """
    patients, owner = np.unique(np.array(predictions.patients), return_inverse=True)
    labels, scores = predictions.labels, predictions.scores
    kept = [label for label in range(labels.shape[1]) if 0 < labels[:, label].sum() < len(labels)]
    if not kept:
        values = np.full(len(patients), np.nan)
        return PatientInfluence(
            macro_auroc=float("nan"), patients=tuple(patients.tolist()), values=values
        )
    aurocs, influences = zip(
        *(_auroc_and_influence(labels[:, label], scores[:, label]) for label in kept), strict=True
    )
    of_records = np.mean(influences, axis=0)
    return PatientInfluence(
        macro_auroc=float(np.mean(aurocs)),
        patients=tuple(patients.tolist()),
        values=np.bincount(owner, weights=of_records, minlength=len(patients)),
    )


def _auroc_and_influence(
    labels: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]
) -> tuple[float, Float[np.ndarray, " record"]]:
    """Return the AUROC of one label and each record's influence on it (ties count one half)."""
    positives, negatives = np.sort(scores[labels]), np.sort(scores[~labels])
    below = _share_below(negatives, scores[labels])
    above = 1.0 - _share_below(positives, scores[~labels])
    auroc = float(below.mean())
    influence = np.empty(len(scores))
    influence[labels] = (below - auroc) / len(positives)
    influence[~labels] = (above - auroc) / len(negatives)
    return auroc, influence


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
