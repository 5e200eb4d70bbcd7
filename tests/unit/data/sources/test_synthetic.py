import json

import numpy as np
import pytest
import wfdb

from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.sources.synthetic import MARKER, SyntheticSettings, write_synthetic
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError

SETTINGS = SyntheticSettings(n_records=24, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    write_synthetic(folder, SETTINGS)
    return folder


def test_records_are_wfdb_files_that_wfdb_reads_to_the_same_values(folder):
    path = folder / "g1" / "S00007.hea"
    theirs = wfdb.rdrecord(str(path.with_suffix("")))
    ours = read_wfdb(read_header(path), path.parent)
    np.testing.assert_array_equal(ours.microvolts / 1000, theirs.p_signal.T)
    assert (theirs.fs, theirs.sig_len) == (500, 5000)


def test_headers_have_the_comments_of_the_challenges(folder):
    keys = [line.split(":")[0] for line in read_header(folder / "g1" / "S00001.hea").comments]
    assert keys == ["Patient", "Age", "Sex", "Dx", "Rx", "Hx", "Sx"]


def test_limb_leads_obey_einthoven_to_rounding(folder):
    path = folder / "g1" / "S00003.hea"
    signal = read_wfdb(read_header(path), path.parent).microvolts
    assert np.abs(signal[0] + signal[2] - signal[1]).max() <= 1.5
    assert np.abs(signal[3] + signal[4] + signal[5]).max() <= 1.5


def test_same_settings_give_the_same_bytes(folder, tmp_path):
    write_synthetic(tmp_path / "again", SETTINGS)
    for path in sorted(folder.rglob("*.*")):
        assert (tmp_path / "again" / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_record_does_not_depend_on_how_many_there_are(folder, tmp_path):
    write_synthetic(tmp_path / "few", SyntheticSettings(n_records=3, seed=5))
    few = (tmp_path / "few/g1/S00002.mat").read_bytes()
    assert few == (folder / "g1/S00002.mat").read_bytes()


def test_another_seed_gives_other_records(folder, tmp_path):
    write_synthetic(tmp_path / "other", SyntheticSettings(n_records=1, seed=6))
    other = (tmp_path / "other/g1/S00001.mat").read_bytes()
    assert other != (folder / "g1/S00001.mat").read_bytes()


def test_writing_again_changes_nothing(folder):
    before = (folder / MARKER).stat().st_mtime_ns
    write_synthetic(folder, SETTINGS)
    assert (folder / MARKER).stat().st_mtime_ns == before


def test_other_settings_do_not_overwrite_a_folder(folder):
    with pytest.raises(DataError, match="holds synthetic records of other settings"):
        write_synthetic(folder, SyntheticSettings(n_records=24, seed=6))


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="exists and holds no synthetic records"):
        write_synthetic(tmp_path, SETTINGS)


def test_interrupted_writing_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "set", SETTINGS, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_record(tmp_path):
    seen = []
    settings = SyntheticSettings(n_records=3, seed=1)
    write_synthetic(tmp_path / "set", settings, on_progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_all_nine_classes_occur_some_records_have_several_and_patients_repeat(tmp_path):
    write_synthetic(tmp_path / "set", SyntheticSettings(n_records=150, seed=1))
    prepared = prepare("synthetic", [tmp_path / "set"], tmp_path / "out", PrepareSettings())
    labels = prepared.labels(label_set("synthetic"))
    assert (labels.sum(axis=0) >= 3).all()
    assert (labels.sum(axis=1) >= 2).any()
    assert 90 < prepared.records["patient"].nunique() < 130
    assert prepared.records["patient_published"].all()


def test_marker_holds_the_settings(folder):
    assert json.loads((folder / MARKER).read_text())["settings"]["seed"] == 5


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"n_records": 0}, "n_records=0"),
        ({"population": "../x"}, "population must be ASCII letters"),
        ({"sampling_rate_hz": 1}, "sampling_rate_hz=1"),
        ({"records_per_patient": 0.5}, "records_per_patient=0.5"),
    ],
)
def test_impossible_settings_are_refused(values, rule):
    with pytest.raises(DataError, match=rule):
        SyntheticSettings(**{"n_records": 1, "seed": 1} | values)
