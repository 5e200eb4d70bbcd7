"""Run variances that cells lend each other, and what replicates from one pool leave out.

Few replicates hardly know their variance. The cells of a comparison share a prior for it (Smyth
2004, Stat. Appl. Genet. Mol. Biol. 3:3; the formulas of limma's `fitFDist` and `squeezeVar`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from ecgopt.shapes import Float


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


def mean_variance(run_variance: float, n_replicates: int, *, overlap: float) -> float:
    """Return the variance of a mean over replicates whose subsets share a part of one pool.

    Means of two subsets of n from one pool of N, drawn without replacement, correlate by n/N = r.
    The spread between R such means estimates v = s^2 (1 - r), while their mean varies by
    s^2 (1/R + r (R - 1)/R) = v (1/R + r/(1 - r)): the form of Nadeau & Bengio 2003, Machine
    Learning 52:239. It is exact where the whole run variance comes from subsets, otherwise careful.
    """
    if overlap >= 1:
        return math.inf
    return run_variance * (1 / n_replicates + overlap / (1 - overlap))


def label_variance(
    positives: Float[np.ndarray, " positives"], negatives: Float[np.ndarray, " negatives"]
) -> float:
    """Return the variance of one label's AUROC over patients (DeLong 1988, Biometrics 44:837).

    It is infinite with a single positive or negative, whose spread cannot be known.
    """
    if min(len(positives), len(negatives)) < 2:
        return math.inf
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    of_positives = wins.mean(axis=1).var(ddof=1) / len(positives)
    of_negatives = wins.mean(axis=0).var(ddof=1) / len(negatives)
    return float(of_positives + of_negatives)


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 whose trigamma is `value`."""

    def distance(exponent: float) -> float:
        return math.log(float(special.polygamma(1, math.exp(exponent)))) - math.log(value)

    return math.exp(float(optimize.brentq(distance, -30.0, 30.0)))
