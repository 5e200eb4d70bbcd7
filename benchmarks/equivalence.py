"""Whether paired scores of two sides are equal, by the margin that comparisons use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.mean_error import MeanError
from ecgopt.study_file.tables import VerdictTable

LEVEL = VerdictTable().confidence
MARGIN = VerdictTable().margin
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
    error = MeanError(
        run_variance=float(values.var(ddof=1)) if len(values) > 1 else 0.0,
        freedom=max(len(values) - 1, 1),
        patient_variance=0.0,
        n_units=len(values),
        n_patients=0,
    )
    mean, half = float(values.mean()), error.reach(LEVEL)
    return MeanDifference(mean=mean, low=mean - half, high=mean + half, n_pairs=len(values))
