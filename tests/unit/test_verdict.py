import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import Interval, PairedDifference, Variances, paired_interval
from ecgopt.analysis.mean_error import MeanError
from ecgopt.analysis.power import further_replicates
from ecgopt.analysis.verdict import PValues, correct_together, decide, holm, run_tests

UNKNOWN = Variances(seeds=None, replicates=None, patients=None)


def interval_of(estimate, *, run_sd=0.01, n_units=5, patient_sd=0.0, n_patients=2000):
    error = MeanError(
        run_variance=run_sd**2,
        patient_variance=patient_sd**2,
        n_units=n_units,
        n_patients=n_patients,
    )
    half = error.reach(0.95)
    return Interval(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        confidence=0.95,
        n_replicates=n_units,
        error=error,
        variances=UNKNOWN,
    )


def verdict_of(interval, margin=0.01):
    return decide(interval, run_tests(interval, margin), margin)


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
    assert verdict_of(interval_of(estimate, run_sd=run_sd)) == verdict


def test_a_real_difference_inside_the_margin_is_equivalent_not_a_win():
    interval = interval_of(0.004, run_sd=0.0005)
    assert interval.low > 0
    assert verdict_of(interval) == "equivalent"


@given(
    estimate=st.floats(-0.1, 0.1),
    run_sd=st.floats(1e-4, 0.1),
    patient_sd=st.floats(0, 0.05),
    n_units=st.integers(2, 20),
)
def test_tests_and_interval_always_agree(estimate, run_sd, patient_sd, n_units):
    interval = interval_of(estimate, run_sd=run_sd, patient_sd=patient_sd, n_units=n_units)
    tests = run_tests(interval, 0.01)
    for value, limit in ((interval.low, 0.0), (interval.high, 0.0)):
        if abs(value - limit) < 1e-9:
            return
    assert (tests.difference < 0.05) == (interval.low > 0 or interval.high < 0)
    if min(abs(interval.low + 0.01), abs(interval.high - 0.01)) > 1e-9:
        assert (tests.equivalence < 0.025) == (interval.low > -0.01 and interval.high < 0.01)


def test_identical_arms_give_exactly_zero_and_read_equivalent():
    zero = PatientInfluence(macro_auroc=0.0, patients=("a", "b"), values=np.zeros(2))
    pairs = [(replicate, seed) for replicate in range(2) for seed in range(2)]
    interval = paired_interval(
        differences_of(dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, zero)), confidence=0.95
    )
    assert (interval.estimate, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert verdict_of(interval) == "equivalent"


def test_without_patients_the_interval_is_the_paired_t_over_replicates():
    values = {(0, 0): 0.01, (1, 0): 0.03, (2, 0): 0.02, (3, 0): 0.05, (4, 0): 0.01}
    interval = paired_interval(differences_of(values), confidence=0.95)
    numbers = list(values.values())
    expected = stats.t.interval(0.95, 4, np.mean(numbers), stats.sem(numbers))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


def test_seeds_are_averaged_within_their_replicate():
    values = {(0, 0): 0.0, (0, 1): 0.02, (1, 0): 0.03}
    assert paired_interval(differences_of(values), confidence=0.95).estimate == pytest.approx(0.02)


def test_patients_common_to_all_replicates_widen_the_interval_whatever_their_number():
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.001, 400)
    names = tuple(map(str, range(400)))
    influence = PatientInfluence(macro_auroc=0.0, patients=names, values=shared - shared.mean())
    widths = []
    for n_replicates in (5, 500):
        pairs = [(replicate, 0) for replicate in range(n_replicates)]
        values = {pair: float(random.normal(0.02, 0.01)) for pair in pairs}
        interval = paired_interval(
            differences_of(values, dict.fromkeys(pairs, influence)), confidence=0.95
        )
        widths.append(interval.high - interval.low)
    floor = 2 * stats.t.ppf(0.975, 399) * math.sqrt((influence.values**2).sum() * 400 / 399)
    assert widths[1] == pytest.approx(floor, rel=0.01)
    assert widths[0] > widths[1]


def test_replicates_with_test_sets_of_their_own_are_not_charged_twice():
    random = np.random.default_rng(1)
    influences = {
        (replicate, 0): PatientInfluence(
            macro_auroc=0.0,
            patients=tuple(f"{replicate}-{i}" for i in range(100)),
            values=random.normal(0, 0.001, 100),
        )
        for replicate in range(6)
    }
    interval = paired_interval(
        differences_of(dict.fromkeys(influences, 0.0), influences), confidence=0.95
    )
    assert interval.error.patient_variance == 0.0


def test_one_replicate_rests_on_its_seeds_and_patients():
    values = {(0, 0): 0.01, (0, 1): 0.03, (0, 2): 0.02}
    interval = paired_interval(differences_of(values), confidence=0.95)
    assert interval.error.n_units == 3
    assert interval.variances.replicates is None


def test_one_pair_without_predictions_has_an_unknown_error_and_stays_undecided():
    interval = paired_interval(differences_of({(0, 0): 0.2}), confidence=0.95)
    assert math.isinf(interval.high)
    assert verdict_of(interval) == "undecided"
    assert further_replicates(interval, margin=0.01) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_a_cell_that_would_win_alone_may_be_undecided_among_many():
    interval = interval_of(0.02, run_sd=0.014)
    alone = run_tests(interval, 0.01)
    others = [PValues(difference=1.0, equivalence=1.0)] * 9
    assert decide(interval, alone, 0.01) == "higher"
    assert decide(interval, correct_together([alone, *others])[0], 0.01) == "undecided"


def test_further_replicates_grow_as_the_difference_shrinks():
    needed = [
        further_replicates(interval_of(estimate, run_sd=0.03, n_units=3), margin=0.01)
        for estimate in (0.08, 0.04, 0.025)
    ]
    assert needed == sorted(needed)
    assert needed[0] < needed[-1]


def test_no_replication_decides_a_difference_at_the_margin():
    assert further_replicates(interval_of(0.01, run_sd=0.02), margin=0.01) is None


def test_no_replication_decides_when_the_test_set_is_too_small():
    interval = interval_of(0.03, run_sd=0.02, patient_sd=0.03, n_patients=60)
    assert further_replicates(interval, margin=0.01) is None


def test_the_largest_tail_is_one_half():
    error = interval_of(0.0).error
    assert error.tail(0.0) == pytest.approx(0.5, abs=1e-9)
    assert error.tail(-0.01) == pytest.approx(1 - error.tail(0.01))


def test_more_units_never_widen_the_interval():
    error = interval_of(0.0, patient_sd=0.01).error
    reaches = [replace(error, n_units=n).reach(0.95) for n in range(2, 30)]
    assert reaches == sorted(reaches, reverse=True)
