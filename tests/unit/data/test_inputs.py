from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import wfdb
from ecg_files import real
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import ecgopt.data.inputs
from ecgopt.data.inputs import Filter, InputForm, crops, prepare, prepare_set
from ecgopt.data.prepared import PreparedSet
from ecgopt.data.signals import LEADS
from ecgopt.errors import DataError

MICROVOLT = 1e-3
"""In millivolts."""


@pytest.fixture(scope="module")
def records():
    """Return eight real records of 500 Hz in microvolts, read by the wfdb package."""
    folder = real("ptbxl_native", "records500")
    headers = sorted(folder.rglob("*.hea"))[:8]
    return [wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T * 1000 for path in headers]


@pytest.fixture
def walk():
    return np.cumsum(np.random.default_rng(0).normal(size=(12, 5000)), axis=1) * 20


def each_lead(function, signal):
    return np.stack([function(lead) for lead in signal])


def ecgfounder(millivolts):
    """Notch, band-pass and median as written out for one lead after the other."""
    b, a = scipy.signal.iirnotch(50, 30, 500)
    signal = each_lead(lambda lead: scipy.signal.filtfilt(b, a, lead), millivolts)
    b, a = scipy.signal.butter(4, [0.67, 40], btype="bandpass", fs=500)
    signal = each_lead(lambda lead: scipy.signal.filtfilt(b, a, lead), signal)
    return signal - each_lead(lambda lead: scipy.signal.medfilt(lead, 201), signal)


def st_mem(millivolts):
    signal = scipy.signal.resample_poly(millivolts, 1, 2, axis=1, padtype="line")
    for kind, hz in (("highpass", 0.67), ("lowpass", 40)):
        sections = scipy.signal.butter(5, hz, btype=kind, fs=250, output="sos")
        signal = each_lead(lambda lead, at=sections: scipy.signal.sosfiltfilt(at, lead), signal)
    return signal[:, 125:2375]


def hubert_ecg(millivolts):
    b, a = scipy.signal.butter(2, [0.05, 47], btype="bandpass", fs=500)
    filtered = each_lead(lambda lead: scipy.signal.filtfilt(b, a, lead), millivolts)
    return scipy.signal.resample_poly(filtered, 1, 5, axis=1, padtype="line")[:, :500]


def two_medians(millivolts):
    rows = []
    for name in ("II", "V5"):
        lead = millivolts[LEADS.index(name)]
        rows.append(lead - scipy.signal.medfilt(scipy.signal.medfilt(lead, 101), 301))
    return np.stack(rows)


FORMS = {
    ecgfounder: InputForm(
        rate_hz=500,
        filters=(
            Filter(kind="notch", hz=50.0),
            Filter(kind="band_pass", hz=(0.67, 40.0)),
            Filter(kind="median_baseline", seconds=(0.4,)),
        ),
    ),
    st_mem: InputForm(
        rate_hz=250,
        seconds=9.0,
        longer="centre",
        filters=(
            Filter(kind="high_pass", hz=0.67, order=5),
            Filter(kind="low_pass", hz=40.0, order=5),
        ),
    ),
    hubert_ecg: InputForm(
        rate_hz=100,
        seconds=5.0,
        filters_at="source",
        filters=(Filter(kind="band_pass", hz=(0.05, 47.0), order=2),),
    ),
    two_medians: InputForm(
        rate_hz=500,
        leads=("II", "V5"),
        filters=(Filter(kind="median_baseline", seconds=(0.2, 0.6)),),
    ),
}


@pytest.mark.parametrize("reference", FORMS, ids=lambda reference: reference.__name__)
def test_real_records_equal_scipy_written_out_to_a_microvolt(records, reference):
    largest = 0.0
    for record in records:
        found = prepare(record, 500, FORMS[reference])
        expected = reference(record / 1000)
        assert found.shape == expected.shape
        largest = max(largest, np.abs(found - expected).max())
    assert largest < MICROVOLT


@pytest.mark.parametrize(
    ("scaling", "reference"),
    [
        ("z_score_record", lambda x: (x - x.mean()) / x.std()),
        ("z_score_lead", lambda x: each_lead(lambda y: (y - y.mean()) / y.std(), x)),
        ("min_max_record", lambda x: 2 * (x - x.min()) / (x.max() - x.min()) - 1),
        (
            "min_max_lead",
            lambda x: each_lead(lambda y: 2 * (y - y.min()) / (y.max() - y.min()) - 1, x),
        ),
        ("zero_one_record", lambda x: (x - x.min()) / (x.max() - x.min())),
        ("zero_one_lead", lambda x: each_lead(lambda y: (y - y.min()) / (y.max() - y.min()), x)),
    ],
)
def test_scaling_equals_its_formula(walk, scaling, reference):
    found = prepare(walk, 500, InputForm(rate_hz=500, scaling=scaling))
    np.testing.assert_allclose(found, reference(walk / 1000), atol=1e-5)


@pytest.mark.parametrize("scaling", ["z_score_lead", "min_max_lead", "zero_one_lead"])
def test_a_flat_lead_becomes_zero_and_no_other_is_touched(walk, scaling):
    form = InputForm(rate_hz=500, scaling=scaling)
    flat = walk.copy()
    flat[3] = 0
    found, expected = prepare(flat, 500, form), prepare(walk, 500, form)
    assert not found[3].any()
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(np.delete(found, 3, 0), np.delete(expected, 3, 0))


@given(
    order=st.permutations(LEADS), n_leads=st.integers(1, 12), rate=st.sampled_from([100, 240, 500])
)
def test_leads_come_in_the_declared_order(order, n_leads, rate):
    leads = tuple(order[:n_leads])
    signal = np.arange(12.0)[:, None] * np.ones((1, 1000))
    found = prepare(signal, 100, InputForm(rate_hz=rate, leads=leads))
    expected = [LEADS.index(lead) / 1000 for lead in leads]
    np.testing.assert_allclose(found[:, 500], expected, atol=1e-5)


def test_a_short_record_is_padded_behind_and_the_padding_is_not_scaled(walk):
    form = InputForm(rate_hz=500, seconds=12.0, scaling="z_score_lead")
    found = prepare(walk, 500, form)
    assert found.shape == (12, 6000)
    assert not found[:, 5000:].any()
    np.testing.assert_allclose(found[:, :5000].mean(axis=1), 0, atol=1e-4)


def test_a_short_record_is_refused_where_that_is_declared(walk):
    form = InputForm(rate_hz=500, seconds=12.0, shorter="refuse")
    with pytest.raises(DataError, match=r"10 s is shorter than the input of 12 s"):
        prepare(walk, 500, form)


def test_a_filter_above_what_the_rate_can_hold_is_refused(walk):
    form = InputForm(rate_hz=50, filters_at="source", filters=(Filter(kind="low_pass", hz=60.0),))
    with pytest.raises(DataError, match="needs a rate above 120 Hz, but has 100 Hz"):
        prepare(walk, 100, form)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"leads": ("I", "I")}, "must be different ones"),
        ({"leads": ("X",)}, "must be different ones"),
        ({"crop_seconds": 11.0}, "must be at most seconds = 10"),
        ({"n_crops": 3}, "several crops need crop_seconds"),
        ({"filters": (Filter(kind="notch", hz=50.0),)}, "needs a rate above 100 Hz"),
    ],
)
def test_values_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        InputForm(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "band_pass", "hz": 40.0}, "needs two frequencies"),
        ({"kind": "band_pass", "hz": (40.0, 0.5)}, "lower frequency must come first"),
        ({"kind": "notch"}, "needs one frequency"),
        ({"kind": "high_pass", "hz": 0.0}, "greater than 0"),
        ({"kind": "median_baseline"}, "one or more widths"),
    ],
)
def test_a_filter_without_its_frequencies_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        Filter(**values)


def test_crops_are_equally_spaced_and_cover_both_ends():
    form = InputForm(rate_hz=250, crop_seconds=9.0, n_crops=3)
    assert (form.n_seen, form.crop_starts) == (2250, (0, 125, 250))
    inputs = np.arange(2500, dtype=np.float32)[None, None]
    assert crops(inputs, form)[0, :, 0, 0].tolist() == [0, 125, 250]
    assert crops(inputs, form).shape == (1, 3, 1, 2250)


def test_training_crops_reach_every_place():
    form = InputForm(rate_hz=10, seconds=1.0, crop_seconds=0.7, n_crops=2)
    generator = np.random.default_rng(0)
    assert {form.random_start(generator) for _ in range(200)} == {0, 1, 2, 3}


@pytest.fixture
def prepared(walk):
    signals = np.stack([np.roll(walk, shift, axis=1) for shift in range(70)]).astype(np.int16)
    return PreparedSet(
        Path("made"),
        "0123456789abcdef0123",
        signals,
        pd.DataFrame({"record": range(70)}),
        {"settings": {"sampling_rate_hz": 500}},
    )


def test_a_set_is_prepared_as_its_records_are(prepared, tmp_path):
    form = InputForm(
        rate_hz=250, filters=(Filter(kind="high_pass", hz=0.5),), scaling="z_score_record"
    )
    found = prepare_set(prepared, form, tmp_path)
    for row in (0, 63, 64, 69):
        np.testing.assert_array_equal(found[row], prepare(prepared.signals[row], 500, form))


def test_equal_inputs_are_prepared_once(prepared, tmp_path, monkeypatch):
    form = InputForm(rate_hz=250, crop_seconds=2.5, n_crops=4)
    first = prepare_set(prepared, form, tmp_path)
    monkeypatch.setattr(ecgopt.data.inputs, "_prepared", None)
    # Crops are cut from the prepared record, so they make no other file.
    again = prepare_set(prepared, InputForm(rate_hz=250), tmp_path)
    assert np.array_equal(first, again)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_form_or_set_is_prepared_apart(prepared, tmp_path):
    prepare_set(prepared, InputForm(rate_hz=250), tmp_path)
    prepare_set(prepared, InputForm(rate_hz=250, scaling="z_score_lead"), tmp_path)
    prepare_set(replace(prepared, fingerprint="f" * 20), InputForm(rate_hz=250), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_set_of_a_lower_rate_is_refused_with_the_remedy(prepared, tmp_path):
    with pytest.raises(DataError, match=r"has 500 Hz: prepare the set again with --rate 1000"):
        prepare_set(prepared, InputForm(rate_hz=1000), tmp_path)
    assert not list(tmp_path.iterdir())
