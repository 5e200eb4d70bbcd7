"""The error of a mean difference: its spread over runs and over patients, and how far it reaches.

The two parts are estimated on very different numbers of units, often 5 replicates and 2,000
patients, so each is multiplied by its own t quantile and the two are added in quadrature. This is
exact when one part is zero and slightly careful in between. One t quantile with Satterthwaite's
degrees of freedom is narrower, but covers only 88 to 93 % with two replicates at a nominal 95 %, as
`docs/decisions/intervals.md` shows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ecgopt.shapes import Float

FEW = 5
"""Below this many degrees of freedom the run variance is itself hardly known."""
_LEAST_TAIL = 1e-15
_STEPS = 40
"""Halvings of the logarithm of a tail, to ten digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanError:
    """What is known about the error of a mean over units (replicates, or seeds of a single one)."""

    run_variance: float
    """Between units; 0 where there is one."""
    freedom: float
    """Degrees of freedom of the run variance."""
    shared_variance: float = 0.0
    """Of the mean, from labelled records that replicates share: more replicates do not reduce it.
    Infinite where all have the same records."""
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
    def of_runs(self) -> float:
        """The variance of the mean from runs and the records they share."""
        return self.run_variance / self.n_units + self.shared_variance

    @property
    def standard_error(self) -> float:
        """Of the mean; infinite where nothing is known."""
        return math.sqrt(self.of_runs + self.patient_variance) if self.is_known else math.inf

    def reach(self, confidence: float) -> float:
        """Return half the width of the two-sided interval.

        Source: the modified large-sample interval, Graybill & Wang 1980, JASA 75:869, here for a
        mean with two components of variance.
        """
        if self.standard_error in (0.0, math.inf):
            return self.standard_error
        return float(_reach(np.array([(1 - confidence) / 2]), _columns([self]))[0])


def tails(values: Sequence[float], errors: Sequence[MeanError]) -> list[float]:
    """Return the one-sided p values of means that lie `values` away, towards the tested side.

    Each is the tail at which `reach` equals the value, so tests and intervals always agree.
    """
    distances = np.abs(np.asarray(values, float))
    columns = _columns(errors)
    low = np.full(len(distances), math.log(_LEAST_TAIL))
    high = np.full(len(distances), math.log(0.5))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        is_beyond = _reach(np.exp(middle), columns) > distances
        low, high = np.where(is_beyond, middle, low), np.where(is_beyond, high, middle)
    found = []
    for value, error, tail in zip(values, errors, np.exp(high).tolist(), strict=True):
        if math.isinf(error.standard_error):
            found.append(0.5)
        elif error.standard_error == 0:
            found.append(0.5 if value == 0 else float(value < 0))
        else:
            found.append(tail if value >= 0 else 1 - tail)
    return found


def _columns(errors: Sequence[MeanError]) -> Float[np.ndarray, "part cell"]:
    """Return deviations and degrees of freedom of runs, then those of patients, a row each."""
    rows = [
        (
            error.of_runs,
            max(error.freedom, 1),
            error.patient_variance,
            max(error.n_patients - 1, 1),
        )
        for error in errors
    ]
    columns = np.array(rows, float).reshape(len(rows), 4).T
    # Where an error is infinite no quantile is asked for, and infinity times zero is no number.
    columns[[0, 2]] = np.sqrt(np.nan_to_num(columns[[0, 2]], posinf=0.0))
    return columns


def _reach(
    tail: Float[np.ndarray, " cell"], columns: Float[np.ndarray, "part cell"]
) -> Float[np.ndarray, " cell"]:
    of_runs, run_freedom, of_patients, patient_freedom = columns
    return np.asarray(
        np.hypot(
            of_runs * special.stdtrit(run_freedom, tail),
            of_patients * special.stdtrit(patient_freedom, tail),
        )
    )
