"""The interval of a paired difference, from runs and from patients together.

Replicates of a cell are independent searches, but they usually share the test patients. Their
spread holds what subsets, splits, searches and seeds do; what another draw of patients would do is
common to all of them, does not shrink with more replicates, and is added from the patients'
influences.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Pair
from ecgopt.analysis.influence import PatientInfluence, align_influences
from ecgopt.analysis.mean_error import MeanError
from ecgopt.shapes import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """One run's score, or that of an arm minus the same run of the reference."""

    value: float
    influence: PatientInfluence | None
    """Of each patient on the difference; None where predictions were not kept."""


def subtract(first: PairedDifference, second: PairedDifference) -> PairedDifference:
    """Return `first` minus `second`, influences included where both are known."""
    value = first.value - second.value
    if first.influence is None or second.influence is None:
        return PairedDifference(value=value, influence=None)
    patients, (ours, theirs) = align_influences((first.influence, second.influence))
    influence = PatientInfluence(macro_auroc=value, patients=patients, values=ours - theirs)
    return PairedDifference(value=value, influence=influence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """What one difference varies by, as standard deviations; None where it cannot be known."""

    seeds: float | None
    """Between seeds of one winner, within a replicate."""
    replicates: float | None
    """Between replicates (subset, split, search), beyond what seeds explain."""
    patients: float | None
    """Of the mean difference, from drawing other test patients; not reduced by replication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean difference and how well it is known."""

    estimate: float
    low: float
    high: float
    confidence: float
    n_replicates: int
    error: MeanError
    variances: Variances


def paired_interval(differences: Mapping[Pair, PairedDifference], *, confidence: float) -> Interval:
    """Return the mean difference over replicates with its t interval.

    Replicates are the units; with one replicate its seeds are, and the interval then knows nothing
    of other subsets, splits and searches. Few replicates give a wide interval instead of a wrong
    one; where nothing speaks about the error at all, the interval is infinite.

    Args:
        differences: By replicate and seed index; at least one.
        confidence: Of the interval, in (0, 1).
    """
    units = _units(differences)
    means = np.array([np.mean([difference.value for difference in unit]) for unit in units])
    covariance, n_patients = _patient_covariance(units)
    error = MeanError(
        run_variance=float(means.var(ddof=1)) if len(means) > 1 else 0.0,
        patient_variance=_common_variance(covariance) if covariance is not None else 0.0,
        n_units=len(means),
        n_patients=n_patients,
    )
    estimate, half = float(means.mean()), error.reach(confidence)
    return Interval(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        confidence=confidence,
        n_replicates=len({replicate for replicate, _ in differences}),
        error=error,
        variances=_variances(differences, error.patient_variance if n_patients else None),
    )


def _units(differences: Mapping[Pair, PairedDifference]) -> list[list[PairedDifference]]:
    by_replicate: dict[int, list[PairedDifference]] = {}
    for (replicate, _), difference in sorted(differences.items()):
        by_replicate.setdefault(replicate, []).append(difference)
    units = list(by_replicate.values())
    return units if len(units) > 1 else [[difference] for difference in units[0]]


def _patient_covariance(
    units: list[list[PairedDifference]],
) -> tuple[Float[np.ndarray, "replicate other"] | None, int]:
    """Return the covariance of the units' means over draws of patients, and how many there are."""
    every = [difference.influence for unit in units for difference in unit]
    influences = [influence for influence in every if influence is not None]
    if len(influences) < len(every):
        return None, 0
    patients, rows = align_influences(influences)
    ends = np.cumsum([len(unit) for unit in units])[:-1]
    means = np.stack([part.mean(axis=0) for part in np.split(rows, ends)])
    return means @ means.T, len(patients)


def _common_variance(covariance: Float[np.ndarray, "replicate other"]) -> float:
    """Return the part of the patients' variance that all units share.

    The rest, a unit's own part, is already in the spread between units.
    """
    n_units = len(covariance)
    if n_units == 1:
        return float(covariance[0, 0])
    shared = (covariance.sum() - np.trace(covariance)) / (n_units * (n_units - 1))
    return max(float(shared), 0.0)


def _variances(
    differences: Mapping[Pair, PairedDifference], patient_variance: float | None
) -> Variances:
    groups: dict[int, list[float]] = {}
    for (replicate, _), difference in differences.items():
        groups.setdefault(replicate, []).append(difference.value)
    within = [np.var(group, ddof=1) for group in groups.values() if len(group) > 1]
    seeds = float(np.mean(within)) if within else None
    replicates = None
    if len(groups) > 1 and seeds is not None:
        between = float(np.var([np.mean(group) for group in groups.values()], ddof=1))
        share = seeds * float(np.mean([1 / len(group) for group in groups.values()]))
        replicates = max(between - share, 0.0)
    return Variances(
        seeds=_root(seeds), replicates=_root(replicates), patients=_root(patient_variance)
    )


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)
