"""Ranks of arms over cells and pairwise wins, against formulas written out here."""

from dataclasses import replace
from itertools import combinations
from statistics import fmean

import pytest
from fakes_evidence import World
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests

from ecgopt.analysis.arms import sort_into_arms
from ecgopt.analysis.conclude import conclude
from ecgopt.analysis.ranking import rank_arms
from ecgopt.report.page.html import render
from ecgopt.report.page.sections import build_page
from ecgopt.report.results import results
from ecgopt.report.tables import all_tables

ARMS = ("scratch", "fine_tune", "linear_probe")
WORLD = World(
    replicates=1, final_seeds=2, trials=3, train_sizes=(100, 200, 400), regimes=ARMS,
    n_patients=60, run_spread=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def ranking(evidence):
    return rank_arms(sort_into_arms(evidence), lambda _: None, evidence.comparison)


def fits_of(evidence, cell, arm):
    """Return the test score of each seed of a cell's arm, read from the plain evidence."""
    return {
        (final.replicate, final.seed_index): final.metrics["macro_auroc"]
        for final in evidence.finals
        if (final.role, final.regime, final.n_train) == ("tuned", arm, cell.n_train)
    }


def scores(evidence, arm):
    return [fmean(fits_of(evidence, cell, arm).values()) for cell in evidence.comparison.cells]


def test_an_arms_rank_is_one_more_than_the_arms_above_it(evidence, ranking):
    of_arm = {arm: scores(evidence, arm) for arm in ARMS}
    n_cells = len(WORLD.train_sizes)
    for place in ranking.arms:
        own = of_arm[place.regime]
        above = [sum(of_arm[arm][cell] > own[cell] for arm in ARMS) for cell in range(n_cells)]
        assert place.mean_rank == pytest.approx(1 + fmean(above))
        assert place.n_first == above.count(0)
        assert place.mean_score == pytest.approx(fmean(own))
    ranks = [place.mean_rank for place in ranking.arms]
    assert ranks == sorted(ranks)
    assert ranking.n_cells == n_cells


def test_arms_are_ranked_by_the_metric_that_decides(evidence, ranking):
    comparison = replace(evidence.comparison, metric="brier")
    judged = replace(evidence, comparison=comparison)
    found = rank_arms(sort_into_arms(judged), lambda _: None, comparison)
    for place in found.arms:
        fits = [
            -final.metrics["brier"]
            for final in evidence.finals
            if final.regime == place.regime and final.role == "tuned"
        ]
        assert place.mean_score == pytest.approx(fmean(fits))
    assert {place.mean_score for place in found.arms}.isdisjoint(
        place.mean_score for place in ranking.arms
    )


def test_the_win_probability_counts_the_fits_that_score_higher(evidence, ranking):
    places = [place.regime for place in ranking.arms]
    assert [(each.regime, each.reference) for each in ranking.pairs] == list(
        combinations(places, 2)
    )
    for each in ranking.pairs:
        shares = []
        for cell in evidence.comparison.cells:
            ours, theirs = (fits_of(evidence, cell, arm) for arm in (each.regime, each.reference))
            shares.append(fmean(float(ours[pair] > theirs[pair]) for pair in ours))
        assert each.win_probability == pytest.approx(fmean(shares))


def test_p_values_are_of_the_mean_difference_over_cells_after_holm(evidence, ranking):
    raw = []
    for each in ranking.pairs:
        ours, theirs = scores(evidence, each.regime), scores(evidence, each.reference)
        differences = [own - other for own, other in zip(ours, theirs, strict=True)]
        raw.append(ttest_1samp(differences, 0.0).pvalue)
        assert each.estimate == pytest.approx(fmean(differences))
    assert [each.p_difference for each in ranking.pairs] == pytest.approx(raw)
    holm = multipletests(raw, method="holm")[1]
    assert [each.p_difference_holm for each in ranking.pairs] == pytest.approx(holm)


def test_equal_arms_share_their_rank_and_never_win(evidence):
    twin = [replace(f, regime="twin") for f in evidence.finals if f.regime == "scratch"]
    studies = [replace(s, regime="twin") for s in evidence.studies if s.regime == "scratch"]
    comparison = replace(evidence.comparison, regimes=("scratch", "twin", "linear_probe"))
    doubled = replace(
        evidence,
        comparison=comparison,
        finals=(*evidence.finals, *twin),
        studies=(*evidence.studies, *studies),
    )
    found = rank_arms(sort_into_arms(doubled), lambda _: None, comparison)
    rank = {place.regime: place.mean_rank for place in found.arms}
    assert rank["scratch"] == rank["twin"]
    assert sum(rank.values()) == pytest.approx(6)
    (pair,) = [each for each in found.pairs if {each.regime, each.reference} == {"scratch", "twin"}]
    assert (pair.win_probability, pair.estimate, pair.p_difference_holm) == (0.5, 0.0, 1.0)


def test_nothing_is_tested_while_planned_work_is_missing(evidence):
    fewer = replace(evidence, finals=tuple(f for f in evidence.finals if f.seed_index == 0))
    found = rank_arms(sort_into_arms(fewer), lambda _: None, fewer.comparison)
    assert {each.p_difference_holm for each in found.pairs} == {None}
    none = replace(evidence, finals=tuple(f for f in evidence.finals if f.regime != "scratch"))
    assert rank_arms(sort_into_arms(none), lambda _: None, none.comparison) is None


def test_two_arms_are_not_ranked(evidence):
    comparison = replace(evidence.comparison, regimes=ARMS[:2])
    two = replace(evidence, comparison=comparison)
    assert rank_arms(sort_into_arms(two), lambda _: None, comparison) is None


def test_page_tables_and_results_hold_the_ranking_and_patients_widen_it(
    evidence, ranking, workspace
):
    conclusions = conclude(evidence, workspace)
    with_patients = {(p.regime, p.reference): p for p in conclusions.ranking.pairs}
    for each in ranking.pairs:
        assert with_patients[each.regime, each.reference].p_difference > each.p_difference
    stored = results(conclusions)["ranking"]
    assert [each["regime"] for each in stored["arms"]] == [p.regime for p in ranking.arms]
    assert len(stored["pairs"]) == 3
    tables = {table.name: table for table in all_tables(conclusions)}
    assert [row[0] for row in tables["ranking"].rows] == [p.regime for p in ranking.arms]
    assert tables["wins"].columns[2] == "win probability"
    page = build_page(conclusions)
    (section,) = [each for each in page.all_sections() if each.name == "ranking"]
    arms, pairs = section.tables
    assert arms.rows[0][0] == ranking.arms[0].regime.replace("fine_tune", "fine-tune")
    assert len(pairs.rows) == 3
    assert "Ranking of the arms" in render(page)
