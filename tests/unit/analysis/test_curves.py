from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgopt.analysis.curves import BudgetCurve, budget_crossover, budget_curve
from ecgopt.evidence.records import TrialEvidence


def brute_force(scores, n_unusable):
    pool = [*scores, *[None] * n_unusable]
    expected = []
    for k in range(1, len(pool) + 1):
        best = [
            max(score for score in draw if score is not None)
            for draw in combinations(pool, k)
            if any(score is not None for score in draw)
        ]
        expected.append(np.mean(best))
    return expected


def trial(number, value, state="complete", recipe="tuned"):
    return TrialEvidence(number=number, state=state, value=value, parameters={}, recipe=recipe)


@settings(max_examples=60)
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=6), n_unusable=st.integers(0, 4))
def test_expected_best_equals_the_mean_over_all_draws(scores, n_unusable):
    complete = [trial(number, score) for number, score in enumerate(scores)]
    pruned = [trial(len(scores) + n, 0.1, state="pruned") for n in range(n_unusable)]
    found = budget_curve([*complete, *pruned]).expected
    assert found == pytest.approx(brute_force(scores, n_unusable), abs=1e-12)


def test_pruned_trials_are_paid_for_and_failed_ones_are_not():
    trials = [trial(0, 0.8), trial(1, 0.4, "pruned"), trial(2, None, "failed"), trial(3, 0.9)]
    assert len(budget_curve(trials).expected) == 3


def test_audit_trials_are_not_part_of_the_budget():
    assert len(budget_curve([trial(0, 0.8), trial(1, 0.9, recipe="audit")]).expected) == 1


def test_the_band_holds_eight_of_ten_draws():
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    curve = budget_curve([trial(i, score) for i, score in enumerate(scores)])
    best_of_two = sorted(max(draw) for draw in combinations(scores, 2))
    inside = [curve.low[1] <= best <= curve.high[1] for best in best_of_two]
    assert np.mean(inside) >= 0.8


def test_the_band_closes_at_the_full_budget():
    curve = budget_curve([trial(i, value) for i, value in enumerate(np.linspace(0.5, 0.9, 12))])
    assert curve.low[-1] == curve.high[-1] == 0.9


def curve_of(*values):
    return BudgetCurve(expected=np.array(values), low=np.array(values), high=np.array(values))


def test_the_lead_may_change_hands():
    found = budget_crossover(
        {"scratch": curve_of(0.6, 0.7, 0.8, 0.9), "fine_tune": curve_of(0.7, 0.75, 0.79, 0.8)}
    )
    assert (found.leader, found.since_trials) == ("scratch", 3)


def test_a_constant_leader_leads_from_the_first_trial():
    found = budget_crossover({"scratch": curve_of(0.6, 0.7), "fine_tune": curve_of(0.7, 0.8)})
    assert (found.leader, found.since_trials) == ("fine_tune", 1)
