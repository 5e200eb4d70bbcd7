"""Paired differences of many comparisons with planted truth, written from the protocol alone.

Whole comparisons are drawn as arrays: comparisons x contrasts x replicates. A contrast is one arm
against the reference in one cell; the arms of a cell share the reference's noise.
"""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedTruth:
    """What is true, and how the differences vary, as standard deviations."""

    difference: float = 0.0
    n_cells: int = 1
    n_arms: int = 1
    n_replicates: int = 3
    n_seeds: int = 2
    replicate_sd: float = 0.015
    seed_sd: float = 0.010
    patient_sd: float = 0.006
    overlap: float = 0.0
    """n/N: the correlation of the replicates' effects."""
    pretraining_sd: float = 0.0
    """Of one checkpoint per comparison, shared by all replicates and contrasts."""
    unequal: bool = False
    """Replicates spread by 0.004 in every other cell and by 0.030 in the rest."""
    heavy_tails: bool = False
    """Replicate effects follow a t distribution with 3 degrees of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedDraws:
    """The differences of many comparisons, and what is estimated next to them."""

    replicates: Array
    """Means over seeds: comparisons x contrasts x replicates."""
    seed_variance: Array
    """Of one seed, estimated: comparisons x contrasts; 0 with one seed."""
    patient_variance: Array
    """Of a mean, estimated on 400 patients: comparisons x contrasts."""


def draw(truth: PlantedTruth, n_comparisons: int, random: np.random.Generator) -> PlantedDraws:
    """Return that many comparisons."""
    shape = (n_comparisons, truth.n_cells, truth.n_arms, truth.n_replicates)
    own, common = np.sqrt(1 - truth.overlap), np.sqrt(truth.overlap)
    effects = own * _contrast(shape, random, heavy=truth.heavy_tails)
    effects = effects + common * _contrast((*shape[:3], 1), random, heavy=truth.heavy_tails)
    seeds = _contrast(shape, random) * truth.seed_sd / np.sqrt(truth.n_seeds)
    patients = _contrast((*shape[:3], 1), random) * truth.patient_sd
    checkpoint = random.normal(size=(n_comparisons, 1, 1, 1)) * truth.pretraining_sd
    spread = np.full((truth.n_cells, 1, 1), truth.replicate_sd)
    if truth.unequal:
        spread[::2], spread[1::2] = 0.004, 0.030
    total = truth.difference + effects * spread + seeds + patients + checkpoint
    flat = (n_comparisons, truth.n_cells * truth.n_arms)
    freedom = truth.n_replicates * (truth.n_seeds - 1)
    of_seeds = random.chisquare(freedom, flat) / freedom if freedom else np.zeros(flat)
    return PlantedDraws(
        replicates=total.reshape(*flat, truth.n_replicates),
        seed_variance=of_seeds * truth.seed_sd**2,
        patient_variance=random.chisquare(399, flat) / 399 * truth.patient_sd**2,
    )


def _contrast(shape: tuple[int, ...], random: np.random.Generator, *, heavy: bool = False) -> Array:
    """Return arm minus reference, with variance 1; the arms of a cell share the reference."""

    def noise(size: tuple[int, ...]) -> Array:
        if heavy:
            return np.asarray(random.standard_t(3, size) / np.sqrt(3))
        return random.normal(size=size)

    return np.asarray((noise(shape) - noise((*shape[:2], 1, shape[3]))) / np.sqrt(2))
