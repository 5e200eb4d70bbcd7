import shutil
from dataclasses import replace

import numpy as np
import pytest
from ecg_files import adc, real, write_record

from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.same_patients import copied_rows, copies_within, shared_patients, without_patients
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header

SETTINGS = PrepareSettings()


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory):
    folders = [real("ptbxl_native"), real("ptbxl_resampled100")]
    return prepare("ptbxl", folders, tmp_path_factory.mktemp("ptbxl"), SETTINGS)


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    folders = [real("cinc2021_utu"), real("cinc2021_deeppsp")]
    return prepare("ptbxl_cinc", folders, tmp_path_factory.mktemp("copies"), SETTINGS)


def test_challenge_copies_of_ptbxl_are_the_same_patients(ptbxl, copies):
    shared = shared_patients(copies, ptbxl)
    in_both = set(copies.records["record"].str[2:]) & set(ptbxl.records["record"])
    rows = np.flatnonzero(copies.records["record"].str[2:].isin(in_both))
    assert len(rows) >= 7
    assert set(copies.records["patient"].iloc[rows]) <= shared
    # Another recording of the same person counts too.
    assert all(patient.startswith("ptbxl-") for patient in shared)


def test_no_copy_is_left_after_the_shared_patients_are_taken_out(ptbxl, copies):
    rows = np.arange(len(copies))
    left = without_patients(copies, rows, shared_patients(copies, ptbxl))
    assert 0 < len(left) < len(rows)
    assert not set(copies.records["patient"].iloc[left]) & set(ptbxl.records["patient"])
    assert not shared_patients(ptbxl, copies) & set(copies.records["patient"].iloc[left])


def test_sets_of_different_people_share_nobody(ptbxl, tmp_path):
    georgia = prepare("georgia", [real("cinc2021_utu")], tmp_path, SETTINGS)
    assert shared_patients(georgia, ptbxl) == frozenset()


def test_both_issues_of_cpsc2018_name_a_recording_alike(tmp_path):
    first = write_record(tmp_path / "a", "A0001", adc(5000), suffix=".mat")
    prepared = [
        prepare("cpsc2018", [first.parent], tmp_path / "out", SETTINGS),
        prepare("cinc", [first.parent], tmp_path / "out", SETTINGS),
    ]
    assert shared_patients(*prepared) == {"cinc-A0001"}


def test_a_copied_recording_gives_away_its_patient_under_any_name(tmp_path):
    path = write_record(tmp_path / "a", "A0001", adc(5000), suffix=".mat")
    write_record(tmp_path / "a", "A0002", adc(5000, seed=1), suffix=".mat")
    (tmp_path / "b").mkdir()
    shutil.copyfile(path.with_suffix(".mat"), tmp_path / "b" / "JS00001.mat")
    text = path.read_text().replace("A0001", "JS00001")
    (tmp_path / "b" / "JS00001.hea").write_text(text)
    first = prepare("cpsc2018", [tmp_path / "a"], tmp_path / "out", SETTINGS)
    second = prepare("chapman", [tmp_path / "b"], tmp_path / "out", SETTINGS)
    assert shared_patients(first, second) == {"cinc-A0001"}
    assert shared_patients(second, first) == {"cinc-JS00001"}


@pytest.mark.parametrize(("per_millivolt", "offset"), [(2000, 0), (400, 0), (204.8, 0), (100, 3)])
def test_recordings_rounded_to_another_gain_are_recognised(ptbxl, tmp_path, per_millivolt, offset):
    n = 60
    for row in range(n):
        numbers = np.rint(ptbxl.signals[row].T / 1000 * per_millivolt + offset).astype("<i2")
        write_record(tmp_path / "in", f"r{row:03d}", numbers, rate=100, gain=f"{per_millivolt}/mV")
    copies = prepare("synthetic", [tmp_path / "in"], tmp_path / "out", SETTINGS)
    if per_millivolt < 1000:
        assert not set(copies.records["signal_hash"]) & set(ptbxl.records["signal_hash"])
    np.testing.assert_array_equal(copied_rows(copies, ptbxl), np.arange(n))
    assert len(copied_rows(ptbxl, copies)) >= n
    assert shared_patients(ptbxl, copies) == set(ptbxl.records["patient"][:n])


def test_different_recordings_of_the_same_people_are_no_copies(ptbxl):
    table = ptbxl.records
    repeated = table["patient"].duplicated(keep=False).to_numpy()
    assert repeated.sum() > 50
    first = np.flatnonzero(~table["patient"].duplicated().to_numpy())
    rest = np.setdiff1d(np.arange(len(table)), first)
    sets = [
        replace(ptbxl, signals=np.array(ptbxl.signals[rows]), records=table.iloc[rows])
        for rows in (rest, first)
    ]
    copied = {table["record"].iloc[rest[row]] for row in copied_rows(*sets)}
    # PTB-XL holds these three recordings twice: once with equal samples, and twice filtered alike.
    assert copied == {"00460", "00138", "00144"}
    assert {tuple(pair) for pair in copies_within(ptbxl)} == {
        (list(table["record"]).index(first), list(table["record"]).index(second))
        for first, second in (("00137", "00138"), ("00143", "00144"), ("00459", "00460"))
    }


def test_both_issues_of_ptb_share_their_recordings_without_a_table_of_patients(tmp_path):
    """PTB has 2000 units per millivolt, its copy in the challenges 1000, so it is rounded."""
    path = real("cinc2021_utu", "S0001.hea")
    signal = read_wfdb(read_header(path), path.parent)
    numbers = np.rint(signal.microvolts.T * 2)
    odd = numbers + np.random.default_rng(0).integers(0, 2, numbers.shape)
    write_record(tmp_path / "a", "A0001", odd.astype("<i2"), rate=1000, gain="2000/mV")
    write_record(tmp_path / "b", "A0001", numbers.astype("<i2") // 2, rate=1000, gain="1000/mV")
    sets = [
        prepare(name, [folder], tmp_path / "out", SETTINGS)
        for name, folder in (("cinc", tmp_path / "a"), ("cinc", tmp_path / "b"))
    ]
    assert copied_rows(*sets).tolist() == copied_rows(*reversed(sets)).tolist() == [0]
