"""The difference against training size: its slope, and the size at which it is gone."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ecgopt.analysis.compare import CellComparison, CellDifferences
from ecgopt.analysis.influence import PatientInfluence, align_influences
from ecgopt.shapes import Float

FEWEST_SIZES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """The training size at which the fitted difference falls to a level."""

    level: float
    n_train: float | None
    """None where the line does not reach the level within the sizes that were run."""
    low: float | None
    high: float | None
    """None where that side of the interval is not bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLadder:
    """One pair of data sets and one model over several training sizes."""

    upstream: str
    downstream: str
    model: str
    reference: str
    regime: str
    points: tuple[CellComparison, ...]
    """By growing size; all have an interval."""
    intercept: float
    slope: float
    """Change of the difference per tenfold training size."""
    slope_low: float
    slope_high: float
    p_slope: float
    """Two-sided, of no slope."""
    to_zero: Crossover
    to_margin: Crossover

    @property
    def sizes(self) -> tuple[int, ...]:
        """The training sizes."""
        return tuple(point.cell.n_train for point in self.points)


def size_ladders(
    comparisons: Iterable[CellComparison], *, confidence: float
) -> tuple[SizeLadder, ...]:
    """Return every ladder of three or more sizes with the line fitted to it."""
    groups: dict[tuple[str, ...], list[CellComparison]] = {}
    for found in comparisons:
        if found.interval is not None and found.interval.error.is_known:
            cell = found.cell
            key = (cell.upstream, cell.downstream, cell.model, found.reference, found.regime)
            groups.setdefault(key, []).append(found)
    return tuple(
        ladder
        for group in groups.values()
        if len(group) >= FEWEST_SIZES and (ladder := _fit(group, confidence))
    )


def _fit(group: list[CellComparison], confidence: float) -> SizeLadder | None:
    """Fit a line by least squares, with the errors that the cells really have.

    Weighting by the cells' own variances would be more precise if these were known; estimated from
    a few replicates each, they cost the interval its coverage (90 % instead of 95 %).
    """
    points = sorted(group, key=lambda point: point.cell.n_train)
    estimates, covariance = joint_covariance(points)
    logs = np.log10([point.cell.n_train for point in points])
    solve = np.linalg.pinv(np.column_stack([np.ones_like(logs), logs]))
    intercept, slope = map(float, solve @ estimates)
    of_line = solve @ covariance @ solve.T
    error = math.sqrt(of_line[1, 1])
    if error == 0:
        return None  # identical arms have no variance, so there is nothing to infer
    freedom = _freedom(points, solve[1])
    reach = float(special.stdtrit(freedom, (1 + confidence) / 2))
    line = _Line(
        coefficients=(intercept, slope),
        covariance=of_line,
        reach=reach,
        range=(float(logs[0]), float(logs[-1])),
    )
    margin = points[0].margin
    first = points[0]
    return SizeLadder(
        upstream=first.cell.upstream,
        downstream=first.cell.downstream,
        model=first.cell.model,
        reference=first.reference,
        regime=first.regime,
        points=tuple(points),
        intercept=intercept,
        slope=slope,
        slope_low=slope - reach * error,
        slope_high=slope + reach * error,
        p_slope=float(2 * special.stdtr(freedom, -abs(slope) / error)),
        to_zero=line.crossover(0.0),
        to_margin=line.crossover(margin if estimates[0] > 0 else -margin),
    )


def _freedom(points: Sequence[CellComparison], weights: Float[np.ndarray, " replicate"]) -> float:
    """Return Satterthwaite's degrees of freedom of a weighted sum of the cells."""
    parts, squares = 0.0, 0.0
    for point, weight in zip(points, weights, strict=True):
        assert point.interval is not None
        error = point.interval.error
        part = float(weight) ** 2 * error.of_runs
        parts += part
        squares += part**2 / error.freedom
    return parts**2 / squares if squares > 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    coefficients: tuple[float, float]
    covariance: Float[np.ndarray, "label other"]
    reach: float
    range: tuple[float, float]

    def crossover(self, level: float) -> Crossover:
        """Return where the line meets `level`, with Fieller's interval.

        Source: Fieller 1954, J. R. Statist. Soc. B 16:175.
        """
        intercept, slope = self.coefficients[0] - level, self.coefficients[1]
        place = -intercept / slope if slope else math.inf
        if not self.range[0] <= place <= self.range[1]:
            return Crossover(level=level, n_train=None, low=None, high=None)
        (v_aa, v_ab), (_, v_bb) = self.covariance
        squared = self.reach**2
        a = slope**2 - squared * v_bb
        b = 2 * (intercept * slope - squared * v_ab)
        c = intercept**2 - squared * v_aa
        if a <= 0:  # the slope itself may be zero, so nothing bounds the crossing
            return Crossover(level=level, n_train=10**place, low=None, high=None)
        half = math.sqrt(max(b**2 - 4 * a * c, 0.0))
        low, high = (-b - half) / (2 * a), (-b + half) / (2 * a)
        return Crossover(level=level, n_train=10**place, low=_size(low), high=_size(high))


def _size(log_size: float) -> float | None:
    return float(10**log_size) if 0 <= log_size <= 9 else None


def joint_covariance(
    comparisons: Sequence[CellComparison],
) -> tuple[Float[np.ndarray, " replicate"], Float[np.ndarray, "replicate other"]]:
    """Return the estimates of cells and their covariance: own runs, common patients.

    Args:
        comparisons: All with an interval, and with runs of their own each.
    """
    intervals = [found.interval for found in comparisons if found.interval is not None]
    estimates = np.array([interval.estimate for interval in intervals])
    means = [mean_influence(found) for found in comparisons]
    known = [mean for mean in means if mean is not None]
    covariance = np.zeros((len(intervals), len(intervals)))
    if known and len(known) == len(means):
        _, rows = align_influences(known)
        covariance = rows @ rows.T
    for index, interval in enumerate(intervals):
        covariance[index, index] = interval.error.standard_error**2
    return estimates, covariance


def mean_influence(found: CellDifferences) -> PatientInfluence | None:
    """Return each patient's influence on a cell's mean difference; None where not all is known.

    Patients are named with their data set, since sets number theirs alike.
    """
    by_replicate: dict[int, list[PatientInfluence]] = {}
    for (replicate, _), difference in found.differences.items():
        if difference.influence is None:
            return None
        by_replicate.setdefault(replicate, []).append(difference.influence)
    if not by_replicate:
        return None
    patients, rows = align_influences([i for group in by_replicate.values() for i in group])
    weights = [1 / len(group) / len(by_replicate) for group in by_replicate.values() for _ in group]
    return PatientInfluence(
        score=0.0,
        patients=tuple(f"{found.cell.downstream}/{patient}" for patient in patients),
        values=np.asarray(weights) @ rows,
    )
