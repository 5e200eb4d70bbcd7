"""The error of a mean difference: its spread over runs and over patients, and how far it reaches.

With `FEW` units or more the t interval has Satterthwaite's degrees of freedom. With fewer, that
approximation is too optimistic (simulated coverage 90 % for two units at a nominal 95 %), so the
two reaches are added in quadrature, each with its own quantile (95-97 %).
"""

import math
from dataclasses import dataclass

from scipy import optimize, stats

FEW = 5
"""Below this many units the run-level variance is itself hardly known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanError:
    """What is known about the error of a mean over units (replicates, or seeds of a single one)."""

    run_variance: float
    """Between units; 0 where there is one."""
    patient_variance: float
    """Of the mean, from drawing other patients: common to all units."""
    n_units: int
    n_patients: int
    """0 where predictions were not kept."""

    @property
    def is_known(self) -> bool:
        """Whether anything at all speaks about the error."""
        return self.n_units > 1 or self.n_patients > 0

    @property
    def standard_error(self) -> float:
        """Of the mean; infinite where nothing is known."""
        if not self.is_known:
            return math.inf
        return math.sqrt(self.run_variance / self.n_units + self.patient_variance)

    @property
    def degrees_of_freedom(self) -> float:
        """Satterthwaite's; infinite where there is no variance.

        Source: Satterthwaite 1946, Biometrics Bulletin 2:110.
        """
        of_runs = self.run_variance / self.n_units
        denominator = 0.0
        if self.n_units > 1:
            denominator += of_runs**2 / (self.n_units - 1)
        if self.n_patients > 1:
            denominator += self.patient_variance**2 / (self.n_patients - 1)
        return (of_runs + self.patient_variance) ** 2 / denominator if denominator else math.inf

    def reach(self, confidence: float) -> float:
        """Return half the width of the two-sided interval."""
        if self.standard_error in (0.0, math.inf):
            return self.standard_error
        return self._reach_of_tail((1 - confidence) / 2)

    def tail(self, value: float) -> float:
        """Return the one-sided p value of a mean that lies `value` away, towards the tested side.

        It is the tail at which `reach` equals `value`, so tests and intervals always agree.
        """
        error = self.standard_error
        if math.isinf(error):
            return 0.5
        if error == 0:
            return 0.5 if value == 0 else float(value < 0)
        if value < 0:
            return 1 - self.tail(-value)
        if self.n_units >= FEW or self.n_units == 1:
            return _upper_tail(value / error, self.degrees_of_freedom)
        least = 1e-15
        if self._reach_of_tail(least) <= value:
            return least
        root = optimize.brentq(
            lambda exponent: self._reach_of_tail(math.exp(exponent)) - value,
            math.log(least),
            math.log(0.5),
            xtol=1e-10,
        )
        return float(math.exp(root))

    def _reach_of_tail(self, tail: float) -> float:
        if self.n_units >= FEW or self.n_units == 1:
            return self.standard_error * _quantile(tail, self.degrees_of_freedom)
        of_runs = math.sqrt(self.run_variance / self.n_units) * _quantile(tail, self.n_units - 1)
        return math.hypot(of_runs, math.sqrt(self.patient_variance) * _quantile(tail, math.inf))


def _quantile(tail: float, freedom: float) -> float:
    is_normal = math.isinf(freedom)
    return float(stats.norm.isf(tail) if is_normal else stats.t.isf(tail, freedom))


def _upper_tail(statistic: float, freedom: float) -> float:
    is_normal = math.isinf(freedom)
    return float(stats.norm.sf(statistic) if is_normal else stats.t.sf(statistic, freedom))
