from dataclasses import replace

import numpy as np
import pytest
from ecg_files import adc, real
from hypothesis import given
from hypothesis import strategies as st
from made_sets import limb_consistent

from ecgopt.data.conditioning import Conditioned, condition, flat_and_saturated
from ecgopt.data.records import LeftOut
from ecgopt.data.signals import LEADS, PrepareSettings, RawSignal, lead_name
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError

SETTINGS = PrepareSettings()


def raw(n_samples: int = 1000, *, rate: float = 100.0, leads: tuple[str, ...] = LEADS) -> RawSignal:
    signal = adc(n_samples).T.astype(np.float64)[: len(leads)]
    return RawSignal(signal, leads, rate)


def stored(signal: RawSignal, settings: PrepareSettings = SETTINGS) -> Conditioned:
    result = condition(signal, settings)
    assert isinstance(result, Conditioned)
    return result


def reason(signal: RawSignal, settings: PrepareSettings = SETTINGS) -> str:
    result = condition(signal, settings)
    assert isinstance(result, LeftOut)
    return result.reason


def test_whole_microvolts_at_the_right_rate_are_stored_unchanged():
    signal = raw()
    np.testing.assert_array_equal(stored(signal).signal, signal.microvolts)


def test_leads_are_put_into_the_standard_order():
    signal = raw(leads=tuple(reversed(LEADS)))
    np.testing.assert_array_equal(stored(signal).signal, signal.microvolts[::-1])


def test_extra_leads_are_left_out():
    signal = RawSignal(
        np.vstack([raw().microvolts, np.ones((3, 1000))]), (*LEADS, "vx", "vy", "vz"), 100.0
    )
    assert stored(signal).signal.shape == (12, 1000)


def test_lead_subset_is_left_out_with_the_missing_names():
    assert reason(raw(leads=("I", "II", "V2"))).startswith("lacks 9 of 12 leads (III, aVR, aVL,")


def test_message_of_missing_leads_names_those_that_are_there():
    assert reason(raw(leads=("I", "II", "V2"))).endswith("; it has I, II, V2")
    nameless = replace(raw(leads=("II", "V2", "V3")), other_signals=("MLII", ""))
    assert reason(nameless).endswith("; it has MLII, ?, II, V2, V3")


@pytest.mark.parametrize("absent", [("III", "aVR", "aVL", "aVF"), ("aVF",)])
def test_missing_limb_leads_follow_exactly_from_i_and_ii(absent):
    signal = limb_consistent(1000).T
    kept = [row for row, lead in enumerate(LEADS) if lead not in absent]
    order = kept[::-1]
    result = stored(RawSignal(signal[order], tuple(LEADS[row] for row in order), 100.0))
    assert result.derived_leads == len(absent)
    np.testing.assert_array_equal(result.signal, np.rint(signal))


def test_leads_of_a_real_record_are_nearly_those_derived_from_two_of_them():
    path = real("ptbxl_native", "records100", "00000", "00148_lr.hea")
    whole = read_wfdb(read_header(path), path.parent)
    few = [0, 1, *range(6, 12)]
    part = RawSignal(whole.microvolts[few], tuple(LEADS[row] for row in few), 100.0)
    difference = stored(part).signal.astype(int) - stored(whole).signal
    assert stored(part).derived_leads == 4
    assert np.abs(difference).max() <= 10
    np.testing.assert_array_equal(difference[few], 0)


@pytest.mark.parametrize(
    "names",
    [
        [f"ECG {lead}" for lead in LEADS],
        [f"MDC_ECG_LEAD_{lead}" for lead in LEADS],
        [f"Lead {lead.upper()}" for lead in LEADS],
        ["DI", "DII", "DIII", *LEADS[3:]],
        ["d1", "D2", "D3", *LEADS[3:]],
        [*LEADS[:6], *(f"C{number}" for number in range(1, 7))],
        [*(f"{lead} (mV)" for lead in LEADS[:3]), "aV-R", "AV L", "av_f", *LEADS[6:]],
        [*LEADS[:6], *(f"V-{number} [uV]" for number in range(1, 7))],
    ],
)
def test_leads_are_known_in_the_spellings_of_other_formats(names):
    assert tuple(map(lead_name, names)) == LEADS


@pytest.mark.parametrize("name", ["VR", "V7", "IIII", "-aVR", "V1R", "vx", "1", "ECG", ""])
def test_what_is_none_of_the_twelve_leads_keeps_its_name(name):
    assert lead_name(name) == name


def test_lead_named_twice_is_left_out():
    signal = RawSignal(np.ones((13, 1000)), (*LEADS, "V6"), 100.0)
    assert reason(signal) == "names a lead twice"


def test_longer_record_keeps_its_first_ten_seconds_by_default():
    signal = raw(1500)
    result = stored(signal)
    assert result.was_cut
    np.testing.assert_array_equal(result.signal, signal.microvolts[:, :1000])


def test_longer_record_keeps_its_centre_on_request():
    signal = raw(1500)
    result = stored(signal, PrepareSettings(longer="centre"))
    np.testing.assert_array_equal(result.signal, signal.microvolts[:, 250:1250])


@pytest.mark.parametrize("longer", ["first", "centre"])
@pytest.mark.parametrize("rate", [100.0, 125.0, 257.0, 500.0, 360.5])
def test_samples_that_a_reader_leaves_out_change_nothing(rate, longer):
    settings = PrepareSettings(longer=longer)
    whole = raw(20_000, rate=rate)
    whole.microvolts[3, 10_000] = np.nan
    part = settings.part(20_000, rate)
    read = whole.microvolts[:, part.first : part.end]
    assert read.shape[1] < 12 * rate
    shortened = RawSignal(read, LEADS, rate, part.first, 20_000)
    first, second = stored(whole, settings), stored(shortened, settings)
    np.testing.assert_array_equal(first.signal, second.signal)
    assert (first.seconds, first.was_cut, first.repaired_samples) == (
        (second.seconds, second.was_cut, second.repaired_samples)
    )


def test_gap_outside_the_stored_part_does_not_matter():
    signal = raw(4000)
    signal.microvolts[2, 2000:] = np.nan
    assert stored(signal).repaired_samples == 0


@pytest.mark.parametrize(
    ("zeros", "seconds"),
    [(slice(0, 70), 0.7), (slice(930, 1000), 0.7), (slice(960, 1500), 0.4), (slice(1001, 1500), 0)],
)
def test_zeros_count_as_padding_at_the_ends_of_the_kept_part(zeros, seconds):
    signal = raw(1500 if zeros.stop == 1500 else 1000)
    signal.microvolts[:] += 40_000
    signal.microvolts[:, zeros] = 0
    assert stored(signal).zero_padded_s == pytest.approx(seconds)


def test_shorter_record_is_left_out_by_default():
    assert reason(raw(999)) == "shorter than 10 s"


def test_shorter_record_is_padded_with_zeros_on_request():
    result = stored(raw(900), PrepareSettings(shorter="pad"))
    assert result.padded_samples == 100
    assert not result.signal[:, 900:].any()


def test_few_missing_samples_are_interpolated_within_their_lead():
    signal = raw()
    signal.microvolts[2, 10:13] = np.nan
    result = stored(signal)
    assert result.repaired_samples == 3
    low, high = signal.microvolts[2, 9], signal.microvolts[2, 13]
    expected = np.rint(low + (high - low) * np.array([0.25, 0.5, 0.75]))
    np.testing.assert_array_equal(result.signal[2, 10:13], expected)


@pytest.mark.parametrize("n_missing", [11, 1000])
def test_published_gaps_leave_a_record_out(n_missing):
    signal = raw()
    signal.microvolts[2, :n_missing] = np.nan
    assert reason(signal) == "more than 1% of a lead's samples are missing"


def test_all_flat_record_is_left_out():
    assert reason(RawSignal(np.zeros((12, 1000)), LEADS, 100.0)) == "all leads are flat"


def test_flat_leads_are_counted():
    signal = raw()
    signal.microvolts[4] = 7
    assert stored(signal).flat_leads == 1


def test_samples_beyond_16_bits_are_clipped_and_counted():
    signal = raw()
    signal.microvolts[0, 5] = -50_000
    result = stored(signal)
    assert result.clipped_samples == 1
    assert result.signal[0, 5] == -32767


def test_equal_signals_have_equal_hashes_and_others_not():
    assert stored(raw()).signal_hash == stored(raw(1100)).signal_hash
    other = raw()
    other.microvolts[0, 0] += 1
    assert stored(raw()).signal_hash != stored(other).signal_hash


def test_rate_that_cannot_be_resampled_is_left_out():
    assert reason(raw(rate=99_991.0)) == "sampling rate 99991 Hz cannot be resampled"


@pytest.mark.parametrize(
    ("values", "rule"),
    [({"sampling_rate_hz": 0}, "sampling_rate_hz=0"), ({"seconds": -1.0}, "seconds=-1.0")],
)
def test_impossible_settings_are_refused(values, rule):
    with pytest.raises(DataError, match=rule):
        PrepareSettings(**values)


def noise(n: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, n)) * 100


def test_lead_that_never_changes_is_flat_and_not_saturated():
    leads = noise()
    leads[1] = 7
    flat, saturated = flat_and_saturated(leads, 500.0)
    assert flat.tolist() == [False, True, False]
    assert not saturated.any()


@pytest.mark.parametrize("sign", [1, -1])
@given(start=st.integers(0, 1900), length=st.integers(1, 100))
def test_lead_that_rests_at_an_extreme_for_80_ms_is_saturated(sign, start, length):
    leads = noise()
    leads[2, start : start + length] = sign * 5000
    _, saturated = flat_and_saturated(leads, 500.0)
    assert saturated.tolist() == [False, False, length >= 40]


def test_several_short_rests_are_no_saturation():
    leads = noise()
    for start in range(0, 2000, 100):
        leads[0, start : start + 30] = 5000
    assert not flat_and_saturated(leads, 500.0)[1].any()


def test_padding_with_zeros_is_no_saturation():
    leads = np.abs(noise())
    leads[:, :300] = 0
    assert not flat_and_saturated(leads, 400.0)[1].any()
