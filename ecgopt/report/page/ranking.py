"""What the page says about all arms together: their ranks over cells, and who beats whom."""

from ecgopt.analysis.conclude import Conclusions
from ecgopt.analysis.ranking import PairwiseWin
from ecgopt.report import words
from ecgopt.report.page.galleries import MOST_ROWS_SHOWN
from ecgopt.report.page.html import PageTable, Section


def ranking_section(conclusions: Conclusions) -> Section | None:
    """Return the section; None for two arms, and before a cell has a final fit of each."""
    ranking = conclusions.ranking
    if ranking is None:
        return None
    score = f"test {words.metric(conclusions.evidence.comparison)}"
    arms = PageTable(
        title=f"Mean rank by {score}; 1 is best",
        columns=("arm", "mean rank", "first in", score),
        rows=tuple(
            (
                words.regime_name(each.regime),
                f"{each.mean_rank:.2f}",
                f"{each.n_first} of {ranking.n_cells}",
                words.score(each.mean_score),
            )
            for each in ranking.arms
        ),
        text_columns=frozenset({0}),
    )
    pairs = PageTable(
        title="Pairs of arms over all cells",
        columns=("arm", "against", "win probability", "difference", "p, Holm"),
        rows=tuple(map(_pair, ranking.pairs)),
        text_columns=frozenset({0, 1}),
        is_folded=len(ranking.pairs) > MOST_ROWS_SHOWN,
    )
    return Section(
        name="ranking",
        title="Ranking of the arms",
        paragraphs=(
            "The win probability is the share of replicates and seeds in which the arm scores "
            "higher than the other, averaged over cells. P values are of the mean difference over "
            "cells, which share test patients, with Holm's correction over all pairs; they need "
            "three cells and all planned work. The ranking describes; the verdicts decide.",
        ),
        tables=(arms, pairs),
    )


def _pair(found: PairwiseWin) -> tuple[str, ...]:
    p_value = found.p_difference_holm
    return (
        words.regime_name(found.regime),
        words.regime_name(found.reference),
        f"{found.win_probability:.0%}",
        words.signed(found.estimate),
        words.MISSING if p_value is None else words.p_value(p_value),
    )
