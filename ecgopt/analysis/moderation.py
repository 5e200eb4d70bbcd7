"""Run variances that cells lend each other, and what replicates from one pool leave out.

Few replicates hardly know their variance. The cells of a comparison share a prior for it (Smyth
2004, Stat. Appl. Genet. Mol. Biol. 3:3; the formulas of limma's `fitFDist` and `squeezeVar`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from ecgopt.analysis.interval import Estimate
from ecgopt.analysis.mean_error import MeanError


@dataclass(frozen=True, slots=True, kw_only=True)
class VariancePrior:
    """The scaled inverse chi-squared distribution of the run variances of cells."""

    variance: float
    freedom: float
    """0 where cells tell nothing of each other; infinite where all have one variance."""
    pooled_freedom: float
    """Of all cells together: the most that a cell can have."""

    def moderate(self, variance: float, freedom: float, *, floor: float) -> tuple[float, float]:
        """Return the posterior variance of a cell and its degrees of freedom.

        Args:
            variance: Of the cell's runs.
            freedom: Of that variance, at least 1.
            floor: What seeds and patients alone explain; the variance never falls below it.
        """
        if math.isinf(self.freedom):
            posterior = self.variance
        else:
            total = self.freedom + freedom
            posterior = (self.freedom * self.variance + freedom * variance) / total
        return max(posterior, floor), min(self.freedom + freedom, self.pooled_freedom)


def estimate_prior(variances: Sequence[float], freedoms: Sequence[float]) -> VariancePrior:
    """Return the prior by moments of the log variances.

    A single cell has only itself: its prior has no weight, so its t quantiles are its own. A
    variance of zero counts as a hundred-thousandth of the median, as in limma.
    """
    values, degrees = np.asarray(variances, float), np.asarray(freedoms, float)
    pooled = float(degrees.sum())
    if len(values) < 2 or not values.any():
        return VariancePrior(variance=0.0, freedom=0.0, pooled_freedom=pooled)
    middle = np.median(values) or values.max()
    values = np.maximum(values, 1e-5 * middle)
    logs = np.log(values) - special.digamma(degrees / 2) + np.log(degrees / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, degrees / 2).mean())
    if excess <= 0:
        common = float(values @ degrees / pooled)
        return VariancePrior(variance=common, freedom=math.inf, pooled_freedom=pooled)
    half = _inverse_trigamma(excess)
    variance = math.exp(float(logs.mean()) + float(special.digamma(half)) - math.log(half))
    return VariancePrior(variance=variance, freedom=2 * half, pooled_freedom=pooled)


def moderated_errors(estimates: Sequence[Estimate]) -> list[MeanError]:
    """Return the error of each estimate, with run variances that cells lend each other.

    A single replicate knows no run variance: it lends none, and its seeds stand for it.
    """
    lenders = [found for found in estimates if found.n_replicates > 1]
    prior = estimate_prior(
        [found.run_variance for found in lenders], [found.n_units - 1 for found in lenders]
    )
    return [_moderated(found, prior) for found in estimates]


def _moderated(estimate: Estimate, prior: VariancePrior) -> MeanError:
    variance, freedom = estimate.run_variance, float(max(estimate.n_units - 1, 1))
    shared = 0.0
    if estimate.n_replicates > 1:
        variance, freedom = prior.moderate(variance, freedom, floor=estimate.explained)
        # Replicates of one checkpoint are one unit, whose mean varies less than a replicate.
        per_unit = estimate.n_replicates / estimate.n_units
        shared = shared_variance(
            variance * per_unit, estimate.explained * per_unit, overlap=estimate.overlap
        )
    return MeanError(
        run_variance=variance,
        freedom=freedom,
        shared_variance=shared,
        patient_variance=estimate.patient_variance,
        n_units=estimate.n_units,
        n_patients=estimate.n_patients,
    )


def shared_variance(run_variance: float, explained: float, *, overlap: float) -> float:
    """Return the variance of a mean over replicates from the records that they share.

    Means of two subsets of n from one pool of N, drawn without replacement, correlate by n/N = r.
    The spread between such means estimates v = s^2 (1 - r), while the mean of R varies by
    s^2 (1/R + r (R - 1)/R) = v/R + v r/(1 - r): the form of Nadeau & Bengio 2003, Machine
    Learning 52:239. Seeds and patients share no subset, so what they explain is left out, but never
    more than a quarter, because it is itself an estimate.
    """
    if overlap >= 1:
        return math.inf
    of_subsets = max(run_variance - explained, 0.75 * run_variance)
    return of_subsets * overlap / (1 - overlap)


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 whose trigamma is `value`."""

    def distance(exponent: float) -> float:
        return math.log(float(special.polygamma(1, math.exp(exponent)))) - math.log(value)

    return math.exp(float(optimize.brentq(distance, -30.0, 30.0)))
