from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import CLASSES, World, invent
from sklearn.metrics import roc_auc_score

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.per_label import compare_labels
from ecgopt.analysis.readings import Readings
from ecgopt.evidence.records import load_predictions


def compare(world, workspace):
    evidence = invent(world, workspace)
    return evidence, compare_labels(evidence, Readings(workspace, evidence.comparison).predictions)


def test_the_difference_of_a_label_is_the_mean_over_replicates_of_its_aurocs(tmp_path):
    evidence, found = compare(World(gain=1.5), tmp_path)
    assert [each.label for each in found] == list(CLASSES)
    for index, each in enumerate(found):
        means = {
            regime: np.mean(
                [
                    roc_auc_score(read.labels[:, index], read.scores[:, index])
                    for final in evidence.finals
                    if final.role == "tuned" and final.regime == regime
                    for read in [load_predictions(final, tmp_path)]
                ]
            )
            for regime in ("scratch", "fine_tune")
        }
        assert each.scores == pytest.approx((means["scratch"], means["fine_tune"]))
        assert each.interval.estimate == pytest.approx(means["fine_tune"] - means["scratch"])


def test_the_mean_of_the_labels_is_the_difference_of_the_macro_auroc(tmp_path):
    evidence, found = compare(World(gain=0.4), tmp_path)
    (whole,) = compare_cells(evidence, lambda _: None)
    mean = np.mean([each.interval.estimate for each in found])
    assert mean == pytest.approx(whole.interval.estimate)


def test_every_label_of_an_arm_that_is_far_better_has_it_as_its_winner(tmp_path):
    _, found = compare(World(gain=2.0), tmp_path)
    assert {each.winner for each in found} == {"fine_tune"}
    _, found = compare(World(gain=2.0, regimes=("fine_tune", "scratch")), tmp_path)
    assert {each.winner for each in found} == {"fine_tune"}
    assert {each.reference for each in found} == {"fine_tune"}


def test_labels_of_one_replicate_are_undecided(tmp_path):
    _, found = compare(World(gain=2.0, replicates=1), tmp_path)
    assert {each.decision for each in found} == {"undecided"}


def test_a_label_that_too_few_test_patients_carry_is_left_out(tmp_path):
    evidence = invent(World(n_patients=60), tmp_path)
    strict = replace(evidence, comparison=replace(evidence.comparison, least_positives=31))
    readings = Readings(tmp_path, strict.comparison)
    assert compare_labels(strict, readings.predictions) == []


def test_a_cell_with_a_missing_pair_is_not_judged_by_label(tmp_path):
    evidence = invent(World(gain=2.0), tmp_path)
    missing = replace(evidence, finals=evidence.finals[1:])
    assert missing.finals[0].role == "tuned"
    readings = Readings(tmp_path, evidence.comparison)
    assert compare_labels(missing, readings.predictions) == []


def test_equal_arms_get_a_winning_label_in_few_comparisons(tmp_path):
    n_wrong = 0
    for seed in range(40):
        world = World(gain=0.0, seed=seed, trials=4, n_patients=80, run_spread=0.2)
        _, found = compare(world, tmp_path / str(seed))
        n_wrong += any(each.winner for each in found)
    assert n_wrong <= 5
