"""The error of a mean difference: its spread over runs and over patients, and how far it reaches.

The two parts are estimated on very different numbers of units, often 5 replicates and 2,000
patients, so each is multiplied by its own t quantile and the two are added in quadrature. This is
exact when one part is zero and slightly careful in between. One t quantile with Satterthwaite's
degrees of freedom is narrower, but covers only 88 to 93 % with two replicates at a nominal 95 %, as
`docs/decisions/intervals.md` shows.
"""

import math
from dataclasses import dataclass

from scipy import special

FEW = 5
"""Below this many units the run-level variance is itself hardly known."""
_LEAST_TAIL = 1e-15


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

    def reach(self, confidence: float) -> float:
        """Return half the width of the two-sided interval.

        Source: the modified large-sample interval, Graybill & Wang 1980, JASA 75:869, here for a
        mean with two components of variance.
        """
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
        if self._reach_of_tail(_LEAST_TAIL) <= value:
            return _LEAST_TAIL
        from scipy import optimize

        root = optimize.brentq(
            lambda exponent: self._reach_of_tail(math.exp(exponent)) - value,
            math.log(_LEAST_TAIL),
            math.log(0.5),
            xtol=1e-10,
        )
        return float(math.exp(root))

    def _reach_of_tail(self, tail: float) -> float:
        of_runs = of_patients = 0.0
        if self.run_variance > 0:
            of_runs = math.sqrt(self.run_variance / self.n_units) * _quantile(tail, self.n_units)
        if self.patient_variance > 0:
            of_patients = math.sqrt(self.patient_variance) * _quantile(tail, self.n_patients)
        return math.hypot(of_runs, of_patients)


def _quantile(tail: float, n_values: int) -> float:
    return -float(special.stdtrit(max(n_values - 1, 1), tail))
