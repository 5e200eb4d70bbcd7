import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import (
    Estimate,
    PairedDifference,
    Shared,
    Variances,
    estimate_mean,
)
from ecgopt.analysis.mean_error import tails
from ecgopt.analysis.power import further_replicates
from ecgopt.analysis.spending import Look
from ecgopt.analysis.verdict import (
    Rules,
    decide_together,
    holm,
)

UNKNOWN = Variances(seeds=None, replicates=None, patients=None)
RULES = Rules.of_one_look(margin=0.01, confidence=0.95)


def estimate_of(value, *, run_sd=0.01, n_units=5, patient_sd=0.0, n_patients=2000, **more):
    return Estimate(
        value=value,
        n_replicates=n_units,
        n_units=n_units,
        run_variance=run_sd**2,
        explained=0.0,
        patient_variance=patient_sd**2,
        n_patients=n_patients,
        variances=UNKNOWN,
        **more,
    )


def alone(estimate, rules=RULES):
    (found,) = decide_together([estimate], rules)
    return found


def interval_of(value, **spread):
    return alone(estimate_of(value, **spread)).interval


def paired_interval(differences):
    return alone(estimate_mean(differences)).interval


def differences_of(values, influences=None):
    return {
        pair: PairedDifference(value=value, influence=influences[pair] if influences else None)
        for pair, value in values.items()
    }


@pytest.mark.parametrize(
    ("estimate", "run_sd", "verdict"),
    [
        (0.05, 0.01, "higher"),
        (-0.05, 0.01, "lower"),
        (0.0, 0.002, "equivalent"),
        (0.005, 0.002, "equivalent"),
        (0.05, 0.2, "undecided"),
        (0.0, 0.02, "undecided"),
        (0.009, 0.004, "undecided"),
    ],
)
def test_verdict_of_one_cell(estimate, run_sd, verdict):
    assert alone(estimate_of(estimate, run_sd=run_sd)).decision == verdict


def test_a_real_difference_inside_the_margin_is_equivalent_not_a_win():
    found = alone(estimate_of(0.004, run_sd=0.0005))
    assert found.interval.low > 0
    assert found.decision == "equivalent"


@given(
    estimate=st.floats(-0.1, 0.1),
    run_sd=st.floats(1e-4, 0.1),
    patient_sd=st.floats(0, 0.05),
    n_units=st.integers(2, 20),
)
def test_tests_and_interval_always_agree(estimate, run_sd, patient_sd, n_units):
    found = alone(estimate_of(estimate, run_sd=run_sd, patient_sd=patient_sd, n_units=n_units))
    interval, tests = found.interval, found.tests
    for value, limit in ((interval.low, 0.0), (interval.high, 0.0)):
        if abs(value - limit) < 1e-9:
            return
    assert (tests.difference < 0.05) == (interval.low > 0 or interval.high < 0)
    if min(abs(interval.low + 0.01), abs(interval.high - 0.01)) > 1e-9:
        assert (tests.equivalence < 0.025) == (interval.low > -0.01 and interval.high < 0.01)


def test_identical_arms_give_exactly_zero_and_read_equivalent():
    zero = PatientInfluence(score=0.0, patients=("a", "b"), values=np.zeros(2))
    pairs = [(replicate, seed) for replicate in range(2) for seed in range(2)]
    differences = differences_of(dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, zero))
    found = alone(estimate_mean(differences))
    assert (found.interval.estimate, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)
    assert found.decision == "equivalent"


def test_without_patients_the_interval_is_the_paired_t_over_replicates():
    values = {(0, 0): 0.01, (1, 0): 0.03, (2, 0): 0.02, (3, 0): 0.05, (4, 0): 0.01}
    interval = paired_interval(differences_of(values))
    numbers = list(values.values())
    expected = stats.t.interval(0.95, 4, np.mean(numbers), stats.sem(numbers))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


def test_seeds_are_averaged_within_their_replicate():
    values = {(0, 0): 0.0, (0, 1): 0.02, (1, 0): 0.03}
    assert paired_interval(differences_of(values)).estimate == pytest.approx(0.02)


def test_patients_common_to_all_replicates_widen_the_interval_whatever_their_number():
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.001, 400)
    names = tuple(map(str, range(400)))
    influence = PatientInfluence(score=0.0, patients=names, values=shared - shared.mean())
    widths = []
    for n_replicates in (5, 500):
        pairs = [(replicate, 0) for replicate in range(n_replicates)]
        values = {pair: float(random.normal(0.02, 0.01)) for pair in pairs}
        interval = paired_interval(differences_of(values, dict.fromkeys(pairs, influence)))
        widths.append(interval.high - interval.low)
    floor = 2 * stats.t.ppf(0.975, 399) * math.sqrt((influence.values**2).sum())
    assert widths[1] == pytest.approx(floor, rel=0.01)
    assert widths[0] > widths[1]


def test_replicates_with_test_sets_of_their_own_are_not_charged_twice():
    random = np.random.default_rng(1)
    influences = {
        (replicate, 0): PatientInfluence(
            score=0.0,
            patients=tuple(f"{replicate}-{i}" for i in range(100)),
            values=random.normal(0, 0.001, 100),
        )
        for replicate in range(6)
    }
    interval = paired_interval(differences_of(dict.fromkeys(influences, 0.0), influences))
    assert interval.error.patient_variance == 0.0


def test_one_replicate_rests_on_its_seeds_and_patients():
    values = {(0, 0): 0.01, (0, 1): 0.03, (0, 2): 0.02}
    interval = paired_interval(differences_of(values))
    assert interval.error.n_units == 3
    assert interval.variances.replicates is None


def test_one_pair_without_predictions_has_an_unknown_error_and_stays_undecided():
    found = alone(estimate_mean(differences_of({(0, 0): 0.2})))
    assert math.isinf(found.interval.high)
    assert found.decision == "undecided"
    assert further_replicates(found.interval, RULES, n_verdicts=1) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_a_cell_that_would_win_alone_may_be_undecided_among_many():
    estimate = estimate_of(0.02, run_sd=0.014)
    assert alone(estimate).decision == "higher"
    (among,) = decide_together([estimate], RULES, n_verdicts=10)
    assert among.decision == "undecided"
    assert among.corrected.difference == pytest.approx(10 * among.tests.difference)


def test_further_replicates_grow_as_the_difference_shrinks():
    needed = [
        further_replicates(interval_of(estimate, run_sd=0.03, n_units=3), RULES, n_verdicts=1)
        for estimate in (0.08, 0.04, 0.03)
    ]
    assert needed == sorted(needed)
    assert needed[0] < needed[-1]


def test_no_replication_decides_a_difference_at_the_margin():
    assert further_replicates(interval_of(0.01, run_sd=0.02), RULES, n_verdicts=1) is None


def test_no_replication_decides_when_the_test_set_is_too_small():
    interval = interval_of(0.03, run_sd=0.02, patient_sd=0.03, n_patients=60)
    assert further_replicates(interval, RULES, n_verdicts=1) is None


def test_the_largest_tail_is_one_half():
    error = interval_of(0.0).error
    at_zero, above, below = tails([0.0, 0.01, -0.01], [error] * 3)
    assert at_zero == pytest.approx(0.5, abs=1e-8)
    assert below == pytest.approx(1 - above)


def test_more_units_never_widen_the_interval():
    error = interval_of(0.0, patient_sd=0.01).error
    reaches = [replace(error, n_units=n).reach(0.95) for n in range(2, 30)]
    assert reaches == sorted(reaches, reverse=True)


def test_two_replicates_give_no_number_of_further_ones():
    interval = interval_of(0.03, run_sd=0.03, n_units=2)
    assert further_replicates(interval, RULES, n_verdicts=1) is None


def test_further_replicates_are_more_if_the_truth_is_nearer_to_zero():
    low, high = further_replicates(interval_of(0.04, run_sd=0.02, n_units=3), RULES, n_verdicts=1)
    assert low < high


def test_cells_lend_each_other_their_variance():
    quiet, loud = (
        estimate_of(0.03, run_sd=0.01, n_units=2),
        estimate_of(0.03, run_sd=0.02, n_units=2),
    )
    among = [decide_together([quiet, loud, quiet, loud], RULES)[index] for index in range(2)]
    assert alone(quiet).interval.error.freedom == 1
    assert among[0].interval.error.freedom > 1
    assert among[0].interval.error.run_variance > quiet.run_variance
    assert among[1].interval.error.run_variance < loud.run_variance


def test_the_run_variance_is_never_below_what_seeds_explain():
    seeds = {(replicate, seed): 0.02 * seed for replicate in range(3) for seed in range(2)}
    found = estimate_mean(differences_of(seeds))
    assert found.run_variance == 0
    assert alone(found).interval.error.run_variance == pytest.approx(0.0002 / 2)


def test_replicates_that_share_records_widen_the_interval_and_the_whole_pool_decides_nothing():
    none, half, whole = (
        alone(estimate_of(0.05, run_sd=0.005, overlap=overlap)) for overlap in (0.0, 0.5, 1.0)
    )
    assert none.interval.high < half.interval.high
    assert (half.decision, whole.decision) == ("higher", "undecided")
    assert math.isinf(whole.interval.high)


def test_a_smaller_level_decides_less():
    look = Look(replicates=5, level=0.001, spent=0.001)
    rules = Rules(margin=0.01, confidence=0.95, look=look)
    estimate = estimate_of(0.03)
    assert (alone(estimate).decision, alone(estimate, rules).decision) == ("higher", "undecided")
    assert alone(estimate, rules).interval == alone(estimate).interval


def checkpoint_study(random, *, n_replicates, n_runs, checkpoint_sd=0.03, run_sd=0.01):
    """Return differences without a true mean, of replicates that start from runs in turn."""
    luck = checkpoint_sd * random.normal(size=n_runs)
    return differences_of(
        {(r, 0): luck[r % n_runs] + run_sd * random.normal() for r in range(n_replicates)}
    )


def coverage(n_replicates, n_runs, stated, n_studies=600):
    random = np.random.default_rng(n_replicates)
    covered = 0
    for _ in range(n_studies):
        study = checkpoint_study(random, n_replicates=n_replicates, n_runs=n_runs)
        found = alone(estimate_mean(study, shared_by_all=Shared(pretraining_runs=stated)))
        covered += found.interval.low <= 0 <= found.interval.high
    return covered / n_studies


@pytest.mark.parametrize(("n_replicates", "n_runs"), [(6, 3), (6, 6), (10, 5)])
def test_the_interval_holds_what_other_pretraining_runs_would_give(n_replicates, n_runs):
    assert coverage(n_replicates, n_runs, stated=n_runs) >= 0.93


def test_an_interval_that_takes_replicates_of_one_checkpoint_for_independent_is_too_narrow():
    assert coverage(10, 2, stated=None) < 0.8


def test_the_mean_weighs_replicates_alike_however_many_share_a_run():
    values = {(0, 0): 0.01, (1, 0): 0.05, (2, 0): 0.03}
    found = estimate_mean(differences_of(values), shared_by_all=Shared(pretraining_runs=2))
    assert found.value == pytest.approx(0.03)
    assert (found.n_replicates, found.n_units) == (3, 2)


def test_one_pretraining_run_leaves_the_replicates_as_units():
    values = {(0, 0): 0.01, (1, 0): 0.05}
    found = estimate_mean(differences_of(values), shared_by_all=Shared(pretraining_runs=1))
    assert found.n_units == 2
    assert found.pretraining_runs == 1
