"""The level that each look at a growing number of replicates may spend.

Bounds follow Lan & DeMets 1983, Biometrika 70:659, by the recursive integration of Armitage,
McPherson & Rowe 1969. They are given as nominal two-sided p values, so that a t statistic of few
replicates is compared with its own distribution (Pocock 1977, Biometrika 64:191).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


def this_look(looks: Sequence[int], most: int | None, *, alpha: float) -> Look:
    """Return the last of the looks so far, at what it may spend.

    A plan is fixed before the first look. Without one the first look spends everything, and so a
    later one, or one that adds no replicates or more than planned, has nothing left.

    Args:
        looks: Replicates present at each look, the present one last.
        most: Replicates planned at most; None where no plan was made.
        alpha: Two-sided level of all looks together.
    """
    if len(looks) == 1 and (most is None or looks[0] >= most):
        return Look(replicates=looks[0], level=alpha, spent=alpha)
    grows = all(first < second for first, second in pairwise(looks))
    if most is None or not grows or looks[-1] > most:
        return Look(replicates=looks[-1], level=0.0, spent=alpha)
    return plan_looks(looks, most, alpha=alpha)[-1]


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
