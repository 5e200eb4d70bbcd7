import numpy as np
import pytest
from ecg_files import real
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import firwin, resample_poly

from ecgopt.data.resample import anti_alias_taps, rational_ratio, resample, resampled_length
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header


@given(
    from_hz=st.sampled_from([50, 100, 128, 250, 257, 360, 400, 500, 1000]),
    to_hz=st.sampled_from([100, 125, 500]),
    n=st.integers(2, 1200),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_part_equals_scipys_resample_poly(from_hz, to_hz, n, seed, data):
    signal = np.random.default_rng(seed).normal(size=(2, n)) * 1000
    up, down = rational_ratio(to_hz, float(from_hz))
    expected = resample_poly(signal, up, down, axis=1, padtype="line")
    length = resampled_length(n, up, down)
    assert expected.shape[1] == length
    start = data.draw(st.integers(0, length - 1))
    n_kept = data.draw(st.integers(1, length - start))
    part = resample(signal, up, down, start=start, n=n_kept)
    # Microvolts: a thousandth of the 1e-6 mV that is promised.
    np.testing.assert_allclose(part, expected[:, start : start + n_kept], atol=1e-9 * 1e3)


REAL = [
    *(("cinc2021_utu", name) for name in ("JS00001", "JS45544", "HR00002", "S0002")),
    ("cinc2021_deeppsp", "E07502"),
    ("chagas2025_code15", "1111"),
]


@pytest.mark.parametrize(("folder", "name"), REAL)
def test_real_records_equal_resample_poly_before_and_after_rounding(folder, name):
    path = real(folder, f"{name}.hea")
    raw = read_wfdb(read_header(path), path.parent)
    up, down = rational_ratio(100, raw.sampling_rate_hz)
    n = min(1000, resampled_length(raw.microvolts.shape[1], up, down))
    ours = resample(raw.microvolts, up, down, start=0, n=n)
    expected = resample_poly(raw.microvolts, up, down, axis=1, padtype="line")[:, :n]
    assert np.abs(ours - expected).max() < 1e-6
    np.testing.assert_array_equal(np.rint(ours), np.rint(expected))


def test_cut_record_hardly_differs_from_the_uncut_one_at_its_edges():
    """The truth is known where a record is cut: its samples beyond the cut are there."""
    error = {"zeros": [], "line": []}
    for path in sorted(real("cinc2021_utu").glob("*.hea"))[:20]:
        raw = read_wfdb(read_header(path), path.parent)
        up, down = rational_ratio(100, raw.sampling_rate_hz)
        cut = raw.microvolts[:, 4 * down * 50 :] - 4500
        truth = resample_poly(raw.microvolts - 4500, up, down, axis=1)[:, 4 * up * 50 :][:, :3]
        zeros = resample_poly(cut, up, down, axis=1)[:, :3]
        line = resample(cut, up, down, start=0, n=3)
        error["zeros"].append(np.abs(zeros - truth).max())
        error["line"].append(np.abs(line - truth).max())
    assert len(error["line"]) == 20
    assert np.median(error["zeros"]) > 1500
    assert np.median(error["line"]) < 30


def test_constant_offset_stays_constant_up_to_the_edges():
    kept = resample(np.full((1, 5000), -4500.0), 1, 5, start=0, n=1000)
    np.testing.assert_allclose(kept, -4500.0, rtol=1e-12)


@pytest.mark.parametrize(("up", "down"), [(1, 5), (100, 257), (5, 1), (1, 4)])
def test_filter_is_that_of_firwin(up, down):
    largest = max(up, down)
    expected = up * firwin(20 * largest + 1, 1 / largest, window=("kaiser", 5.0))
    np.testing.assert_allclose(anti_alias_taps(up, down), expected, atol=1e-15)


def test_tone_above_half_the_new_rate_is_removed():
    time_s = np.arange(5000) / 500
    tone = 1000 * np.sin(2 * np.pi * 80 * time_s)[None]
    kept = resample(tone, 1, 5, start=100, n=800)
    assert np.abs(kept).max() < 5


@pytest.mark.parametrize(
    ("from_hz", "ratio"),
    [(500.0, (1, 5)), (257.0, (100, 257)), (100.0, (1, 1)), (360.5, (200, 721))],
)
def test_ratio_is_in_lowest_terms(from_hz, ratio):
    assert rational_ratio(100, from_hz) == ratio


def test_rate_without_a_small_ratio_is_not_resampled():
    assert rational_ratio(100, 99_991.0) is None


@pytest.mark.parametrize("rate", [1e-4, 4e-4, 1e-300])
def test_rate_near_zero_is_not_resampled(rate):
    assert rational_ratio(100, rate) is None
