import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgopt.training.optimizer import rate_factor


def factors(n_steps, warmup_share=0.1, schedule="cosine"):
    return [
        rate_factor(step, n_steps, warmup_share=warmup_share, schedule=schedule)
        for step in range(n_steps)
    ]


@given(
    st.integers(1, 300),
    st.floats(0, 0.99),
    st.sampled_from(["cosine", "constant"]),
)
def test_every_step_moves_and_none_exceeds_the_peak(n_steps, warmup_share, schedule):
    assert all(0 < factor <= 1 for factor in factors(n_steps, warmup_share, schedule))


@given(st.integers(20, 300))
def test_the_rate_climbs_through_the_warm_up_and_falls_afterwards(n_steps):
    values = factors(n_steps)
    peak = round(0.1 * n_steps) - 1
    assert values[peak] == 1
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


def test_the_cosine_ends_near_zero():
    assert factors(1000)[-1] < 1e-5


def test_a_constant_schedule_without_warm_up_is_level():
    assert set(factors(50, warmup_share=0.0, schedule="constant")) == {1.0}


def test_half_way_through_the_cosine_the_rate_is_half():
    assert factors(100, warmup_share=0.0)[50] == pytest.approx(0.5)
