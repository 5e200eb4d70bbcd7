"""The ladder of schedule fractions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgopt.jobs.pruning import LADDER_STEPS, ladder, promoted, rung_to_wait_at


@given(st.integers(1, 500))
def test_steps_rise_with_the_epochs_and_end_with_the_last(n_epochs):
    steps = ladder(n_epochs)
    assert list(steps) == sorted(steps)
    assert list(steps.values()) == sorted(set(steps.values()))
    assert steps[n_epochs] == LADDER_STEPS


def test_a_short_schedule_skips_steps():
    assert ladder(5) == {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}


@given(st.integers(10, 500))
def test_a_long_schedule_has_all_ten_steps(n_epochs):
    assert sorted(ladder(n_epochs).values()) == list(range(1, LADDER_STEPS + 1))


@pytest.mark.parametrize(
    ("reports", "rung", "share", "expected"),
    [
        # Half of four continue.
        ({1: {3: 0.6}, 2: {3: 0.8}, 3: {3: 0.7}, 4: {3: 0.5}}, 3, 0.5, {2, 3}),
        # Rounded up, so the best of one always does.
        ({5: {3: 0.6}}, 3, 0.5, {5}),
        ({1: {3: 0.6}, 2: {3: 0.8}, 3: {3: 0.7}}, 3, 0.5, {2, 3}),
        # Those that ended before the rung do not count.
        ({1: {3: 0.6}, 2: {2: 0.9}, 3: {3: 0.7}, 4: {}}, 3, 0.5, {3}),
        # What is reported after the rung decides nothing there; a skipped rung is the next report.
        ({1: {3: 0.6, 6: 0.9}, 2: {4: 0.7, 8: 0.1}}, 3, 0.5, {2}),
        # At equal scores the first slots continue.
        ({4: {6: 0.7}, 3: {6: 0.7}, 2: {6: 0.7}}, 6, 0.34, {2, 3}),
        ({slot: {6: slot / 10} for slot in range(10)}, 6, 0.1, {9}),
    ],
)
def test_the_best_share_of_a_bracket_is_promoted(reports, rung, share, expected):
    assert promoted(reports, rung, share) == expected


@pytest.mark.parametrize(
    ("reports", "pauses", "expected"),
    [
        ({}, (3, 6), None),
        ({1: 0.5, 2: 0.6}, (3, 6), None),
        ({3: 0.5}, (3, 6), 3),
        ({3: 0.5}, (6,), None),
        ({4: 0.5}, (3, 6), 3),
        ({6: 0.5}, (6,), 6),
        ({3: 0.5, 10: 0.5}, (6,), None),  # it has come to its end
        ({3: 0.5}, (), None),
    ],
)
def test_a_trial_pauses_at_the_first_rung_that_it_has_come_to(reports, pauses, expected):
    assert rung_to_wait_at(reports, pauses) == expected
