import math
from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.equal_score import equal_scores

SIZES = (100, 300, 900, 2700)
WORLD = World(train_sizes=SIZES, trials=4, n_patients=20, replicates=4, final_seeds=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return invent(WORLD, tmp_path_factory.mktemp("workspace"))


def with_scores(evidence, factor, *, spread=0.0, seed=0, rate=0.05):
    """Let fine-tuning with n records score as scratch does with `factor` times as many."""
    random = np.random.default_rng(seed)
    finals = []
    for final in evidence.finals:
        size = final.n_train * (factor if final.regime == "fine_tune" else 1)
        score = 0.5 + rate * math.log(size) + spread * random.normal()
        finals.append(replace(final, metrics={"macro_auroc": score}))
    return replace(evidence, finals=tuple(finals))


def found_for(evidence):
    return {each.n_train: each for each in equal_scores(evidence, lambda _: None)}


def test_the_equal_size_is_the_one_that_was_planted(template):
    found = found_for(with_scores(template, 3.0))
    assert [found[size].factor for size in SIZES[:3]] == pytest.approx([3.0, 3.0, 3.0])


def test_an_equal_size_beyond_the_ladder_is_not_given(template):
    found = found_for(with_scores(template, 3.0))
    assert found[2700].n_equal is None
    below = found_for(with_scores(template, 0.5))
    assert below[100].n_equal is None
    assert below[900].factor == pytest.approx(0.5)


def test_arms_that_score_alike_need_equally_many_records(template):
    found = found_for(with_scores(template, 1.0))
    assert [each.factor for each in found.values()] == pytest.approx([1.0] * 4)


def test_the_interval_covers_the_planted_size_as_often_as_it_says(template):
    covered = 0
    for seed in range(100):
        found = found_for(with_scores(template, 3.0, spread=0.01, seed=seed))[300]
        covered += (found.low or 0) <= 900 <= (found.high or math.inf)
    assert covered >= 90


def test_a_reference_that_does_not_improve_with_records_has_no_equal_sizes(template):
    assert found_for(with_scores(template, 3.0, rate=0.0)) == {}
    assert found_for(with_scores(template, 3.0, rate=0.0005, spread=0.02)) == {}


def test_one_size_has_no_equal_size(tmp_path):
    evidence = invent(World(trials=4, n_patients=20), tmp_path)
    assert equal_scores(evidence, lambda _: None) == ()
