"""Whether paired scores of two sides are equal, by the margin that comparisons use."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
MARGIN = 0.01
"""The difference in macro AUROC that comparisons count as one, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDifference:
    """The mean of paired differences, with its t interval."""

    mean: float
    low: float
    high: float
    n_pairs: int

    @property
    def verdict(self) -> str:
        """Whether the interval lies within the margin, in words."""
        within = self.low > -MARGIN and self.high < MARGIN
        return f"{'within' if within else 'NOT shown to be within'} the margin of {MARGIN}"

    def __str__(self) -> str:
        interval = f"{LEVEL:.0%} interval {self.low:+.4f} to {self.high:+.4f}"
        return f"{self.mean:+.4f}, {interval}, {self.n_pairs} pairs"


def mean_difference(differences: Sequence[float]) -> MeanDifference:
    """Return the mean of paired differences; one pair alone leaves the interval open."""
    values = np.asarray(differences)
    mean, half = float(values.mean()), math.inf
    if len(values) > 1:
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return MeanDifference(mean=mean, low=mean - half, high=mean + half, n_pairs=len(values))
