"""A paired difference: its mean, what it varies by, and its interval.

Replicates of a cell are separate searches, but they usually share the test patients. Their spread
holds what subsets, splits, searches and seeds do; what another draw of patients would do is common
to all of them, does not shrink with more replicates, and is added from the patients' influences.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ecgopt.analysis.arms import Pair, replicate_means
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
    influence = PatientInfluence(score=value, patients=patients, values=ours - theirs)
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
class Estimate:
    """A mean difference and what its own runs and patients say about it."""

    value: float
    n_replicates: int
    n_units: int
    """Replicates, groups of replicates with one checkpoint, or the seeds of a single replicate."""
    run_variance: float
    """Between units; 0 where there is one."""
    explained: float
    """The part of the run variance that seeds, or patients in one run alone, explain."""
    patient_variance: float
    n_patients: int
    overlap: float = 0.0
    """Share of the pool's records that a replicate draws: the correlation of replicates."""
    pretraining_runs: int | None = None
    """Runs that the replicates start from in turn; None where no arm starts from any."""
    variances: Variances


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean difference and how well it is known."""

    estimate: float
    low: float
    high: float
    confidence: float
    n_replicates: int
    overlap: float
    """Share of the pool's records that a replicate draws."""
    pretraining_runs: int | None = None
    """Runs that the replicates start from in turn; None where no arm starts from any."""
    error: MeanError
    variances: Variances

    @classmethod
    def of(cls, estimate: Estimate, error: MeanError, confidence: float) -> Self:
        """Return the interval of an estimate with that error."""
        half = error.reach(confidence)
        return cls(
            estimate=estimate.value,
            low=estimate.value - half,
            high=estimate.value + half,
            confidence=confidence,
            n_replicates=estimate.n_replicates,
            overlap=estimate.overlap,
            pretraining_runs=estimate.pretraining_runs,
            error=error,
            variances=estimate.variances,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the replicates of a cell have in common, so that they are not independent."""

    overlap: float = 0.0
    """Share of the pool's records that a replicate draws."""
    pretraining_runs: int | None = None
    """Runs that the replicates start from in turn; None where no arm starts from any."""


def estimate_mean(
    differences: Mapping[Pair, PairedDifference], *, shared_by_all: Shared = Shared()
) -> Estimate:
    """Return the mean difference over replicates.

    Replicates are the units; those that start from the same of several pre-training runs are one.
    With one replicate its seeds are the units, and the estimate then knows nothing of other
    subsets, splits and searches.

    Args:
        differences: By replicate and seed index; at least one.
        shared_by_all: What the replicates have in common.
    """
    units = _units(differences, shared_by_all.pretraining_runs)
    means = np.array([np.mean([difference.value for difference in unit]) for unit in units])
    covariance, n_patients = _patient_covariance(units)
    shared, private = (0.0, 0.0) if covariance is None else _split_patients(covariance)
    n_replicates = len({replicate for replicate, _ in differences})
    per_unit = n_replicates / len(units) if n_replicates > 1 else 1.0
    variances, of_seeds = _variances(differences, shared if n_patients else None)
    return Estimate(
        value=_mean_over_replicates(differences),
        n_replicates=n_replicates,
        n_units=len(means),
        run_variance=float(means.var(ddof=1)) if len(means) > 1 else 0.0,
        explained=max(of_seeds / per_unit, private) if n_replicates > 1 else 0.0,
        patient_variance=shared,
        n_patients=n_patients,
        overlap=shared_by_all.overlap,
        pretraining_runs=shared_by_all.pretraining_runs,
        variances=variances,
    )


def _mean_over_replicates(differences: Mapping[Pair, PairedDifference]) -> float:
    means = replicate_means({pair: each.value for pair, each in differences.items()})
    return float(np.mean([*means.values()]))


def _units(
    differences: Mapping[Pair, PairedDifference], pretraining_runs: int | None
) -> list[list[PairedDifference]]:
    n_groups = pretraining_runs if pretraining_runs and pretraining_runs > 1 else math.inf
    by_unit: dict[float, list[PairedDifference]] = {}
    for (replicate, _), difference in sorted(differences.items()):
        by_unit.setdefault(replicate % n_groups, []).append(difference)
    units = list(by_unit.values())
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


def _split_patients(covariance: Float[np.ndarray, "replicate other"]) -> tuple[float, float]:
    """Return the patients' variance that all units share, and the rest of a unit's own.

    The rest is already in the spread between units.
    """
    n_units, own = len(covariance), float(np.trace(covariance)) / len(covariance)
    if n_units == 1:
        return own, 0.0
    shared = (float(covariance.sum()) - own * n_units) / (n_units * (n_units - 1))
    return max(shared, 0.0), own - max(shared, 0.0)


def _variances(
    differences: Mapping[Pair, PairedDifference], patient_variance: float | None
) -> tuple[Variances, float]:
    """Return the parts, and what seeds explain of the variance between replicates."""
    groups: dict[int, list[float]] = {}
    for (replicate, _), difference in differences.items():
        groups.setdefault(replicate, []).append(difference.value)
    within = [np.var(group, ddof=1) for group in groups.values() if len(group) > 1]
    seeds = float(np.mean(within)) if within else None
    replicates, explained = None, 0.0
    if len(groups) > 1 and seeds is not None:
        between = float(np.var([np.mean(group) for group in groups.values()], ddof=1))
        explained = seeds * float(np.mean([1 / len(group) for group in groups.values()]))
        replicates = max(between - explained, 0.0)
    parts = Variances(
        seeds=_root(seeds), replicates=_root(replicates), patients=_root(patient_variance)
    )
    return parts, explained


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)
