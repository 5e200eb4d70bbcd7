"""Whether verdicts and intervals keep what they promise, over simulated studies of known truth.

`benchmarks/calibration.py` repeats this over many more studies and designs.
"""

import math

import numpy as np
import pytest
from simulated_studies import Truth, calibrate, simulate

from ecgopt.analysis.interval import Variances
from ecgopt.analysis.power import Design, replicates_needed
from ecgopt.analysis.verdict import Rules

N_STUDIES = 400
DESIGN = {"replicate_spread": 0.05, "seed_spread": 0.04, "n_patients": 400}


@pytest.fixture(scope="module")
def planned_replicates():
    """The replicates that a pilot of 40 studies plans for a true difference of 0.03."""
    random = np.random.default_rng(0)
    pilots = [simulate(Truth(**DESIGN), random).interval.variances for _ in range(40)]
    seeds, replicates, patients = (
        math.sqrt(np.mean([getattr(pilot, part) ** 2 for pilot in pilots]))
        for part in ("seeds", "replicates", "patients")
    )
    return replicates_needed(
        0.03,
        Design(
            overlaps=[0.0],
            n_seeds=2,
            n_patients=DESIGN["n_patients"],
            variances=Variances(seeds=seeds, replicates=replicates, patients=patients),
        ),
        Rules.of_one_look(margin=0.01, confidence=0.95),
    )


@pytest.fixture(scope="module")
def without_difference(planned_replicates):
    return calibrate(Truth(n_replicates=planned_replicates, **DESIGN), N_STUDIES, seed=0)


@pytest.fixture(scope="module")
def with_difference(planned_replicates):
    truth = Truth(difference=0.03, n_replicates=planned_replicates, **DESIGN)
    return calibrate(truth, N_STUDIES, seed=1)


def test_without_a_true_difference_an_arm_wins_in_at_most_one_of_twenty_studies(without_difference):
    assert without_difference.share("higher", "lower") <= 0.05


def test_a_true_difference_of_three_points_wins_in_four_of_five_studies_of_the_planned_size(
    with_difference,
):
    assert with_difference.share("higher") >= 0.80


def test_intervals_cover_the_truth_as_often_as_they_claim(without_difference, with_difference):
    coverage = (without_difference.coverage + with_difference.coverage) / 2
    assert 0.93 <= coverage <= 0.97


def test_two_replicates_still_cover_the_truth():
    assert calibrate(Truth(n_replicates=2), N_STUDIES, seed=2).coverage >= 0.93


def test_a_precise_study_of_equal_arms_reads_equivalent():
    truth = Truth(
        n_replicates=8, replicate_spread=0.01, seed_spread=0.01, n_patients=4000, of_arm=0.02
    )
    assert calibrate(truth, 20, seed=3).share("equivalent") >= 0.8
