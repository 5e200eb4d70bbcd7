import shutil

import numpy as np
import pytest
from ecg_files import adc, real, write_record

from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.same_patients import shared_patients, without_patients

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
