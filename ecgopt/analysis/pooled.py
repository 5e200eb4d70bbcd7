"""One statement over all cells: the mean difference, and how much cells differ."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from ecgopt.analysis.compare import CellDifferences
from ecgopt.analysis.influence import align_influences
from ecgopt.analysis.sizes import mean_influence
from ecgopt.shapes import Float

FEWEST_TARGETS = 3
Target = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The mean difference over targets (downstream data, model, training size)."""

    reference: str
    regime: str
    estimate: float
    low: float
    high: float
    confidence: float
    p_difference: float
    """Two-sided, of no difference; 1 where nothing is known about the error."""
    between_targets: float
    """Standard deviation of the true differences over targets."""
    n_targets: int
    n_observations: int
    """Differences that went in: one per target and replicate."""
    method: Literal["mixed model", "t over cells"]


def pool(comparisons: Sequence[CellDifferences], *, confidence: float) -> Pooled | None:
    """Return the pooled difference of one regime; None below three targets.

    Cells that differ only in their upstream share the reference arm, so their differences are
    averaged first and a target counts once. A linear mixed model with a random intercept per
    target gives the mean and its error; patients, who are shared by targets, are added from their
    influences; the t quantile has one degree of freedom less than there are targets. Where the
    model cannot be fitted (one replicate, or no spread), the targets' means are the units.
    """
    groups = _by_target(comparisons)
    if len(groups) < FEWEST_TARGETS:
        return None
    values = [value for group in groups.values() for value in group]
    owners = [index for index, group in enumerate(groups.values()) for _ in group]
    patients = _patient_variance(comparisons)
    fitted = _mixed_model(np.array(values), np.array(owners))
    if fitted is None:
        means = np.array([np.mean(group) for group in groups.values()])
        spread = float(means.std(ddof=1))
        fitted = (float(means.mean()), spread / len(means) ** 0.5, spread)
        method: Literal["mixed model", "t over cells"] = "t over cells"
    else:
        method = "mixed model"
    estimate, error, between = fitted
    freedom, error = len(groups) - 1, math.sqrt(error**2 + patients)
    half = error * float(special.stdtrit(freedom, (1 + confidence) / 2))
    return Pooled(
        reference=comparisons[0].reference,
        regime=comparisons[0].regime,
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        confidence=confidence,
        p_difference=2 * float(special.stdtr(freedom, -abs(estimate) / error)) if error else 1.0,
        between_targets=between,
        n_targets=len(groups),
        n_observations=len(values),
        method=method,
    )


def _by_target(comparisons: Sequence[CellDifferences]) -> dict[Target, list[float]]:
    """Return, per target, one difference per replicate, averaged over seeds and upstreams."""
    gathered: dict[Target, dict[int, list[float]]] = {}
    for found in comparisons:
        target = (found.cell.downstream, found.cell.model, found.cell.n_train)
        for (replicate, _), difference in found.differences.items():
            gathered.setdefault(target, {}).setdefault(replicate, []).append(difference.value)
    return {
        target: [float(np.mean(values)) for values in replicates.values()]
        for target, replicates in gathered.items()
    }


def _patient_variance(comparisons: Sequence[CellDifferences]) -> float:
    means = [mean for found in comparisons if (mean := mean_influence(found)) is not None]
    if not means:
        return 0.0
    _, rows = align_influences(means)
    return float((rows.mean(axis=0) ** 2).sum())


def _mixed_model(
    values: Float[np.ndarray, " replicate"], owners: Float[np.ndarray, " replicate"]
) -> tuple[float, float, float] | None:
    """Return the mean, its error and the spread between targets; None if it cannot be fitted."""
    if len(values) == len(set(owners.tolist())) or np.ptp(values) == 0:
        return None
    from statsmodels.regression.mixed_linear_model import MixedLM
    from statsmodels.tools.sm_exceptions import ModelWarning

    # Scores differ in the third digit; the optimiser's tolerances want numbers near one.
    scale = float(values.std())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        try:
            fit = MixedLM(values / scale, np.ones((len(values), 1)), groups=owners).fit(reml=True)
        except (ModelWarning, np.linalg.LinAlgError, ValueError):
            return None
    error, between = float(fit.bse[0]) * scale, float(fit.cov_re[0, 0])
    if not math.isfinite(error) or error == 0:
        return None
    return float(fit.params[0]) * scale, error, math.sqrt(max(between, 0.0)) * scale
