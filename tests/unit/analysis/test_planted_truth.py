"""The statistics of the verdict against formulas, published values and planted truth."""

import math

import numpy as np
import pytest
from planted_truth import PlantedTruth, draw
from scipy import special, stats

from ecgopt.analysis.moderation import estimate_prior, shared_variance
from ecgopt.analysis.spending import alpha_spent, looks_so_far, plan_looks


def test_the_prior_of_many_cells_is_found_again():
    random = np.random.default_rng(0)
    true = 0.0004 * 8 / random.chisquare(8, 20000)
    prior = estimate_prior(true * random.chisquare(2, 20000) / 2, [2] * 20000)
    assert prior.freedom == pytest.approx(8, rel=0.1)
    assert prior.variance == pytest.approx(0.0004, rel=0.03)


def test_the_prior_solves_the_moment_equations():
    variances, freedoms = np.array([1e-4, 9e-4, 0.04, 3e-6]), np.full(4, 4.0)
    prior = estimate_prior(variances, freedoms)
    logs = np.log(variances) - special.digamma(2) + math.log(2)
    excess = logs.var(ddof=1) - special.polygamma(1, 2)
    assert special.polygamma(1, prior.freedom / 2) == pytest.approx(excess)
    posterior, freedom = prior.moderate(9e-4, 4, floor=0)
    weighted = prior.freedom * prior.variance + 4 * 9e-4
    assert posterior == pytest.approx(weighted / (prior.freedom + 4))
    assert freedom == pytest.approx(prior.freedom + 4)


def test_one_cell_keeps_its_own_variance_and_equal_cells_pool():
    assert estimate_prior([0.02], [2]).moderate(0.02, 2, floor=0) == (0.02, 2)
    pooled = estimate_prior([0.02, 0.021, 0.019], [2, 2, 2])
    assert pooled.moderate(0.001, 2, floor=0) == (pytest.approx(0.02), 6)
    assert pooled.moderate(0.001, 2, floor=0.5)[0] == 0.5


@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.7])
def test_subsets_of_one_pool_have_the_stated_variance(overlap):
    random = np.random.default_rng(1)
    n_pool, n_subset = 100, round(100 * overlap) or 1
    means = np.empty((2000, 3))
    for row in means:
        pool = random.normal(size=n_pool)
        row[:] = [random.choice(pool, n_subset, replace=False).mean() for _ in row]
    run = means.var(axis=1, ddof=1).mean()
    stated = run / 3 + shared_variance(run, 0.0, overlap=n_subset / n_pool)
    assert stated == pytest.approx(means.mean(axis=1).var(), rel=0.1)


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        ("obrien_fleming", [4.877, 3.357, 2.680, 2.290, 2.031]),
        ("pocock", [2.438, 2.427, 2.410, 2.397, 2.386]),
    ],
)
def test_bounds_equal_published_ones(shape, published):
    looks = plan_looks([2, 4, 6, 8, 10], 10, alpha=0.05, shape=shape)
    bounds = [stats.norm.isf(look.level / 2) for look in looks]
    assert bounds == pytest.approx(published, abs=0.006)
    assert looks[-1].spent == pytest.approx(0.05)
    assert alpha_spent(0, 0.05, shape) == 0


def test_looks_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="do not increase"):
        plan_looks([3, 3], 10, alpha=0.05)


@pytest.mark.parametrize(
    ("looks", "most", "level"),
    [
        ([3], None, 0.05),
        ([5], 5, 0.05),
        ([3, 8], None, 0.0),  # the first look spent everything
        ([3, 3], 10, 0.0),  # the same replicates again
        ([3, 12], 10, 0.0),  # more than planned
    ],
)
def test_what_a_look_may_spend(looks, most, level):
    assert looks_so_far(looks, most, alpha=0.05)[-1].level == level


def test_looks_of_a_plan_spend_the_rest_at_the_last():
    first, last = looks_so_far([2, 4], 4, alpha=0.05)
    # O'Brien and Fleming's bounds at half of the information and at all of it.
    assert first.level == pytest.approx(2 * stats.norm.sf(2.963), rel=0.01)
    assert last.level == pytest.approx(2 * stats.norm.sf(1.969), rel=0.01)
    assert last.spent == pytest.approx(0.05)


@pytest.mark.parametrize("n_tests", [1, 4, 8, 50])
def test_each_test_of_a_family_has_a_plan_for_its_share_of_the_level(n_tests):
    look = looks_so_far([2, 4], 4, alpha=0.05, n_tests=n_tests)[0]
    # The first look spends 4 (1 - Phi(z / sqrt(t))), with z the point that alpha / 4 lies above.
    share = 0.05 / n_tests
    spent = 4 * stats.norm.sf(stats.norm.isf(share / 4) / math.sqrt(0.5))
    assert look.level / look.factor(n_tests) == pytest.approx(spent, rel=0.02)


def test_a_family_at_one_look_is_corrected_by_its_size():
    (look,) = looks_so_far([3], None, alpha=0.05, n_tests=8)
    assert look.factor(8) == 8


def test_planted_differences_vary_as_stated():
    truth = PlantedTruth(n_cells=2, n_arms=3, n_replicates=4, overlap=0.5, difference=0.03)
    found = draw(truth, 4000, np.random.default_rng(3)).replicates
    assert found.shape == (4000, 6, 4)
    assert found.mean() == pytest.approx(0.03, abs=0.001)
    own = 0.015**2 / 2 + 0.010**2 / 2
    assert found.var(axis=2, ddof=1).mean() == pytest.approx(own, rel=0.05)
    shared = 0.015**2 / 2 + 0.006**2
    assert found.mean(axis=2).var() == pytest.approx(own / 4 + shared, rel=0.05)
