import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgopt.data.signal_quality import flat_and_saturated


def signal(n: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, n)) * 100


def test_lead_that_never_changes_is_flat_and_not_saturated():
    leads = signal()
    leads[1] = 7
    flat, saturated = flat_and_saturated(leads, 500.0)
    assert flat.tolist() == [False, True, False]
    assert not saturated.any()


@pytest.mark.parametrize("sign", [1, -1])
@given(start=st.integers(0, 1900), length=st.integers(1, 100))
def test_lead_that_rests_at_an_extreme_for_80_ms_is_saturated(sign, start, length):
    leads = signal()
    leads[2, start : start + length] = sign * 5000
    _, saturated = flat_and_saturated(leads, 500.0)
    assert saturated.tolist() == [False, False, length >= 40]


def test_several_short_rests_are_no_saturation():
    leads = signal()
    for start in range(0, 2000, 100):
        leads[0, start : start + 30] = 5000
    assert not flat_and_saturated(leads, 500.0)[1].any()


def test_padding_with_zeros_is_no_saturation():
    leads = np.abs(signal())
    leads[:, :300] = 0
    assert not flat_and_saturated(leads, 400.0)[1].any()
