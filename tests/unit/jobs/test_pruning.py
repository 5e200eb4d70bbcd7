"""The ladder of schedule fractions."""

from hypothesis import given
from hypothesis import strategies as st

from ecgopt.jobs.pruning import LADDER_STEPS, ladder


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
