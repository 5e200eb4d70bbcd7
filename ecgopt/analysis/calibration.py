"""How often a diagnosis that an arm gives a probability is there: its calibration curve."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm, Pair, replicate_means
from ecgopt.analysis.compare import shared
from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import Interval, PairedDifference, estimate_mean
from ecgopt.analysis.moderation import moderated_errors
from ecgopt.analysis.parts import PredictionsOf
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import Comparison
from ecgopt.shapes import Bool, Float, Int
from ecgopt.training.metrics import equal_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """One of ten groups of equally many probabilities, from the lowest to the highest."""

    predicted: float
    """Mean probability, over the final fits."""
    observed: Interval
    """Share of the group's records that carry the label, over the final fits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    predicted: float
    observed: PairedDifference


def calibration_curve(
    arm: Arm, predictions_of: PredictionsOf, comparison: Comparison
) -> tuple[CalibrationPoint, ...]:
    """Return the curve of an arm's tuned final fits; empty where predictions were not kept.

    The probabilities of all labels are taken together. Intervals hold what patients vary by, each
    with all their records and labels, and what runs vary by; the groups share a prior for that.
    """
    finals = arm.finals_by_pair("tuned")
    runs: dict[Pair, list[_Group]] = {}
    for pair, final in finals.items():
        predictions = predictions_of(final)
        if predictions is None:
            return ()
        runs[pair] = _groups(predictions)
    if not runs:
        return ()
    n_groups = min(map(len, runs.values()))
    estimates = [
        estimate_mean(
            {pair: groups[index].observed for pair, groups in runs.items()},
            shared_by_all=shared(comparison, arm),
        )
        for index in range(n_groups)
    ]
    return tuple(
        CalibrationPoint(
            predicted=_mean({pair: groups[index].predicted for pair, groups in runs.items()}),
            observed=Interval.of(estimate, error, comparison.confidence),
        )
        for index, (estimate, error) in enumerate(
            zip(estimates, moderated_errors(estimates), strict=True)
        )
    )


def _groups(predictions: Predictions) -> list[_Group]:
    patients, owner = np.unique(np.array(predictions.patients), return_inverse=True)
    of_each = np.repeat(owner, len(predictions.classes))
    truth, scores = predictions.labels.ravel(), predictions.scores.ravel()
    names = tuple(patients.tolist())
    return [
        _Group(
            predicted=float(scores[group].mean()),
            observed=_share(truth[group], of_each[group], names),
        )
        for group in equal_groups(scores)
    ]


def _share(
    truth: Bool[np.ndarray, " record"], owner: Int[np.ndarray, " record"], patients: tuple[str, ...]
) -> PairedDifference:
    """Return the share that is true, and each patient's influence on it (a ratio of totals)."""
    share = float(truth.mean())
    n_patients = len(np.unique(owner))
    unbiased = np.sqrt(n_patients / (n_patients - 1)) if n_patients > 1 else 1.0
    moves: Float[np.ndarray, " record"] = (truth - share) / len(truth) * unbiased
    values = np.bincount(owner, weights=moves, minlength=len(patients))
    influence = PatientInfluence(score=share, patients=patients, values=values)
    return PairedDifference(value=share, influence=influence)


def _mean(values: Mapping[Pair, float]) -> float:
    return float(np.mean([*replicate_means(values).values()]))
