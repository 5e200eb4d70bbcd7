"""All arms in one order over cells, and how often each beats each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ecgopt.analysis.arms import Arm, replicate_means
from ecgopt.analysis.compare import CellDifferences, InfluenceOf, pair_finals
from ecgopt.analysis.pooled import pool
from ecgopt.analysis.verdict import holm
from ecgopt.evidence.records import CellKey, Comparison

FEWEST_ARMS = 3
"""Two arms have one difference, which the verdicts give already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRank:
    """The place of one arm."""

    regime: str
    mean_rank: float
    """Over cells; 1 is the highest test score, and equal scores share their mean rank."""
    n_first: int
    """Cells in which no arm scores higher."""
    mean_score: float
    """Score that verdicts rest on: the mean over cells of the mean over replicates and seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseWin:
    """One arm against another over all cells."""

    reference: str
    regime: str
    win_probability: float
    """That the arm scores higher than the other at the same replicate and seed: the share of such
    pairs, equal scores counting one half, averaged over cells."""
    estimate: float
    """Mean difference over targets, the arm minus the other."""
    p_difference: float | None
    """Two-sided, of no mean difference over targets; None below three targets, or while planned
    work is missing."""
    p_difference_holm: float | None
    """After Holm's correction over all pairs of arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The arms of a comparison in one order; it describes, and the verdicts decide."""

    n_cells: int
    """Cells in which every arm has a final fit; no other counts."""
    arms: tuple[ArmRank, ...]
    """The first has the best mean rank."""
    pairs: tuple[PairwiseWin, ...]
    """Each pair of arms once; the regime of each has the better place in `arms`."""


def rank_arms(
    arms: Mapping[CellKey, Mapping[str, Arm]], influence_of: InfluenceOf, comparison: Comparison
) -> Ranking | None:
    """Return the ranking of three or more arms; None before a cell has a final fit of each.

    Ranks and win probabilities are of the tuned final fits. The p values are those of the mean
    difference over targets (see `pool`), which knows that cells share test patients; tests of ranks
    take cells as independent, so with several training sizes of one data set they find too much.

    Source: ranks over data sets, Demsar 2006, J. Mach. Learn. Res. 7:1; the probability of
    improvement, Agarwal et al. 2021, arXiv:2108.13264.
    """
    finished = [of_cell for of_cell in arms.values() if _have_finals(of_cell)]
    if len(comparison.regimes) < FEWEST_ARMS or not finished:
        return None
    from scipy.stats import rankdata  # slow to import, and needed for three arms or more alone

    scores = np.array(
        [[of_cell[name].test_score() for name in comparison.regimes] for of_cell in finished]
    )
    ranks = np.array([rankdata(-of_cell) for of_cell in scores])
    places = [
        ArmRank(
            regime=name,
            mean_rank=float(ranks[:, column].mean()),
            n_first=int((scores[:, column] == scores.max(axis=1)).sum()),
            mean_score=float(scores[:, column].mean()),
        )
        for column, name in enumerate(comparison.regimes)
    ]
    places.sort(key=lambda place: (place.mean_rank, -place.mean_score))
    is_whole = all(
        len(arm.finals_by_pair("tuned")) >= comparison.fits_of(cell)
        for cell, of_cell in arms.items()
        for arm in of_cell.values()
    )
    found = [
        _win(
            [_contrast(worse.regime, better.regime, each, influence_of) for each in finished],
            comparison,
            is_whole=is_whole,
        )
        for better, worse in combinations(places, 2)
    ]
    return Ranking(n_cells=len(finished), arms=tuple(places), pairs=_corrected(found))


def _have_finals(of_cell: Mapping[str, Arm]) -> bool:
    pairs = [arm.finals_by_pair("tuned").keys() for arm in of_cell.values()]
    return bool(set.intersection(*map(set, pairs)))


def _contrast(
    reference: str, regime: str, of_cell: Mapping[str, Arm], influence_of: InfluenceOf
) -> CellDifferences:
    return CellDifferences(
        cell=of_cell[regime].cell,
        reference=reference,
        regime=regime,
        differences=pair_finals(of_cell[reference], of_cell[regime], influence_of, role="tuned"),
    )


def _win(
    contrasts: Sequence[CellDifferences], comparison: Comparison, *, is_whole: bool
) -> PairwiseWin:
    pooled = pool(contrasts, confidence=comparison.confidence)
    return PairwiseWin(
        reference=contrasts[0].reference,
        regime=contrasts[0].regime,
        win_probability=float(np.mean([each.share_won for each in contrasts])),
        estimate=_mean(contrasts) if pooled is None else pooled.estimate,
        p_difference=pooled.p_difference if pooled is not None and is_whole else None,
        p_difference_holm=None,
    )


def _mean(contrasts: Sequence[CellDifferences]) -> float:
    by_cell = [
        replicate_means({pair: found.value for pair, found in each.differences.items()})
        for each in contrasts
    ]
    return float(np.mean([np.mean([*means.values()]) for means in by_cell]))


def _corrected(found: Sequence[PairwiseWin]) -> tuple[PairwiseWin, ...]:
    p_values = [each.p_difference for each in found]
    known = [value for value in p_values if value is not None]
    if len(known) < len(p_values):
        return tuple(found)
    return tuple(
        replace(each, p_difference_holm=value)
        for each, value in zip(found, holm(known), strict=True)
    )
