"""The level that each look at a growing number of replicates may spend.

Bounds follow Lan & DeMets 1983, Biometrika 70:659, by the recursive integration of Armitage,
McPherson & Rowe 1969. They are given as nominal two-sided p values, so that a t statistic of few
replicates is compared with its own distribution (Pocock 1977, Biometrika 64:191).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import special

SpendingShape = Literal["obrien_fleming", "pocock"]
_POINTS = 801


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the replicates present, and what it may spend."""

    replicates: int
    level: float
    """The nominal two-sided p value at or below which this look decides."""
    spent: float
    """Of alpha, by this look and all before it."""
    levels: tuple[float, ...] = ()
    """The levels of plans for alpha, alpha / 2, alpha / 4, ...; empty where there is no plan."""

    def factor(self, n_tests: int) -> float:
        """Return what a p value is multiplied by in a family of so many tests.

        At one look that is their number, after Bonferroni. A planned early look spends less than
        its share of a small alpha, so each test has a plan of its own for its share of alpha.

        Source: Maurer & Bretz 2013, Stat. Biopharm. Res. 5:311.
        """
        if not self.levels:
            return float(n_tests)
        halvings = math.log2(n_tests)
        known = np.arange(len(self.levels))
        return self.level / float(np.exp(np.interp(halvings, known, np.log(self.levels))))


def alpha_spent(share: float, alpha: float, shape: SpendingShape) -> float:
    """Return the part of alpha that may be spent at a share of the planned replicates."""
    share = min(share, 1.0)
    if share <= 0:
        return 0.0
    if shape == "pocock":
        return alpha * math.log1p((math.e - 1) * share)
    return float(4 * special.ndtr(special.ndtri(alpha / 4) / math.sqrt(share)))


def plan_looks(
    replicates: Sequence[int], most: int, *, alpha: float, shape: SpendingShape = "obrien_fleming"
) -> list[Look]:
    """Return the level of each look.

    Args:
        replicates: Present at each look, strictly increasing, at most `most`.
        most: Replicates planned at most; fixed before the first look.
        alpha: Two-sided level of all looks together.
        shape: How early alpha is spent.
    """
    shares = np.array(replicates) / most
    if len(shares) == 0 or shares[0] <= 0 or shares[-1] > 1 or (np.diff(shares) <= 0).any():
        raise ValueError(f"looks {list(replicates)} do not increase within 1..{most}")
    looks: list[Look] = []
    grid = density = np.empty(0)
    spent = before = 0.0
    for count, share in zip(replicates, shares, strict=True):
        wide = np.linspace(-9 * math.sqrt(share), 9 * math.sqrt(share), 2 * _POINTS - 1)
        if looks:
            here = _next_density(wide, grid, density, share - before)
        else:
            here = np.exp(-(wide**2) / (2 * share)) / math.sqrt(2 * math.pi * share)
        total = alpha_spent(float(share), alpha, shape)
        bound = _bound(wide, here, total - spent)
        looks.append(
            Look(
                replicates=count,
                level=float(2 * special.ndtr(-bound / math.sqrt(share))),
                spent=total,
            )
        )
        grid = np.linspace(-bound, bound, _POINTS)
        density = np.interp(grid, wide, here)
        spent, before = total, float(share)
    return looks


def looks_so_far(
    counts: Sequence[int], most: int | None, *, alpha: float, n_tests: int = 1
) -> list[Look]:
    """Return the looks so far, the present one last, each at what it may spend.

    A plan is fixed before the first look. Without one the first look spends everything, and so a
    later one, or one that adds no replicates or more than planned, has nothing left.

    Args:
        counts: Replicates present at each look.
        most: Replicates planned at most; None where no plan was made.
        alpha: Two-sided level of all looks together.
        n_tests: Size of the largest family of tests.
    """
    if most is None or counts[0] >= most:
        first = Look(replicates=counts[0], level=alpha, spent=alpha)
        return [first, *(Look(replicates=count, level=0.0, spent=alpha) for count in counts[1:])]
    n_sound = 1
    for before, count in pairwise(counts):
        if not before < count <= most:
            break
        n_sound += 1
    looks = list(_planned(tuple(counts[:n_sound]), most, alpha, math.ceil(math.log2(n_tests)) + 1))
    return [*looks, *(Look(replicates=count, level=0.0, spent=alpha) for count in counts[n_sound:])]


@lru_cache(maxsize=256)
def _planned(counts: tuple[int, ...], most: int, alpha: float, n_plans: int) -> tuple[Look, ...]:
    plans = [plan_looks(counts, most, alpha=alpha / 2**halving) for halving in range(n_plans)]
    return tuple(
        replace(of_look[0], levels=tuple(look.level for look in of_look))
        for of_look in zip(*plans, strict=True)
    )


def _next_density(
    points: np.ndarray, grid: np.ndarray, density: np.ndarray, variance: float
) -> np.ndarray:
    """Return the density of the sum at the next look, of paths not stopped so far."""
    steps = np.exp(-((points[:, None] - grid) ** 2) / (2 * variance))
    kernel = steps / math.sqrt(2 * math.pi * variance)
    found: np.ndarray = np.trapezoid(kernel * density, grid, axis=1)
    return found


def _bound(points: np.ndarray, density: np.ndarray, mass: float) -> float:
    """Return the symmetric bound beyond which the density holds `mass`."""
    middle = len(points) // 2
    outer = points[middle:][::-1], density[middle:][::-1]
    widths = -np.diff(outer[0])
    tails = np.concatenate([[0.0], np.cumsum(widths * (outer[1][1:] + outer[1][:-1]) / 2)])
    return float(np.interp(mass / 2, tails, outer[0]))
