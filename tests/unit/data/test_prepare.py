import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ecg_files import adc, as_nobody, real, write_record
from made_sets import make_cpsc_native
from scipy.signal import resample_poly

from ecgopt.data.prepare import PrepareSettings, open_prepared, prepare
from ecgopt.data.request import find_prepared
from ecgopt.data.sources.catalog import source
from ecgopt.errors import DataError

SETTINGS = PrepareSettings()
DROP_BROKEN = PrepareSettings(broken="drop")


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        write_record(tmp_path / "in", f"A{number:04d}", adc(5000, seed=number), suffix=".mat")
    return tmp_path / "in"


def prepare_cinc(folder: Path, settings: PrepareSettings = SETTINGS, **options):
    return prepare("cinc", [folder], folder.parent / "out", settings, **options)


def test_signals_are_resampled_and_rounded_microvolts(folder):
    prepared = prepare_cinc(folder)
    expected = np.rint(
        resample_poly(adc(5000, seed=2).T.astype(float), 1, 5, axis=1, padtype="line")
    )
    np.testing.assert_array_equal(prepared.signals[2], expected)
    assert prepared.signals.dtype == np.int16
    assert not prepared.signals.flags.writeable


def test_table_row_describes_the_signal_of_the_same_row(folder):
    row = prepare_cinc(folder).records.iloc[3]
    assert (row["record"], row["age_years"], row["sex"]) == ("A0003", 60.0, "male")
    assert (row["sampling_rate_hz"], row["seconds"], bool(row["was_cut"])) == (500.0, 10.0, False)
    assert (row["patient"], bool(row["patient_published"])) == ("cinc-A0003", False)
    assert pd.isna(row["fold"])


def test_folder_is_named_by_source_and_fingerprint(folder):
    prepared = prepare_cinc(folder)
    assert prepared.folder.name == f"cinc-{prepared.fingerprint[:12]}"
    files = sorted(path.name for path in prepared.folder.iterdir())
    assert files == ["local.json", "manifest.json", "records.parquet", "signals.npy"]


def test_preparing_again_opens_what_is_there(folder):
    first = prepare_cinc(folder)
    before = (first.folder / "signals.npy").stat().st_mtime_ns
    again = prepare_cinc(folder, on_progress=lambda *_: pytest.fail("read a record again"))
    assert again.fingerprint == first.fingerprint
    assert (first.folder / "signals.npy").stat().st_mtime_ns == before


def test_other_settings_or_other_input_give_another_folder(folder):
    first = prepare_cinc(folder)
    other = prepare_cinc(folder, PrepareSettings(sampling_rate_hz=125))
    write_record(folder, "A0000", adc(5000, seed=99), suffix=".mat")
    changed = prepare_cinc(folder)
    assert len({first.fingerprint, other.fingerprint, changed.fingerprint}) == 3


def test_fingerprint_does_not_depend_on_where_the_files_lie(folder, tmp_path):
    first = prepare_cinc(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert prepare("cinc", [moved], tmp_path / "out2", SETTINGS).fingerprint == first.fingerprint


def test_two_processes_give_the_same_bytes_as_one(folder, tmp_path):
    for number in range(6, 80):
        write_record(folder, f"A{number:04d}", adc(1000, seed=number), rate=100)
    settings = PrepareSettings(shorter="pad")
    one = prepare_cinc(folder, settings)
    two = prepare("cinc", [folder], tmp_path / "out2", settings, n_processes=2)
    for name in ("signals.npy", "manifest.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    pd.testing.assert_frame_equal(one.records, two.records)


def test_manifest_accounts_for_every_record(folder):
    write_record(folder, "B1", adc(6000), suffix=".mat")
    write_record(folder, "B2", adc(4000), suffix=".mat")
    write_record(folder, "B3", adc(5000)[:, :2], leads=("I", "II"))
    write_record(folder, "B4", np.zeros((5000, 12), dtype="<i2"))
    write_record(folder, "B5", adc(9000), rate=300)
    (write_record(folder, "B6", adc(5000)).with_suffix(".dat")).unlink()
    manifest = prepare_cinc(folder, DROP_BROKEN).manifest
    counts = manifest["counts"]
    assert counts["found"] == counts["kept"] + counts["dropped"] == 12
    assert (counts["kept"], counts["cut"], counts["broken"]) == (7, 1, 1)
    reasons = {row["record"]: row["reason"] for row in manifest["dropped"]}
    assert reasons["B2"] == "shorter than 10 s"
    assert reasons["B3"].startswith("lacks 10 of 12 leads")
    assert reasons["B4"] == "all leads are flat"
    assert reasons["B5"] == "sampling rate 300 Hz, but cinc has 257, 500, 1000 Hz"
    assert reasons["B6"] == "its signal file cannot be read: No such file or directory"


@pytest.mark.parametrize("comments", ["#Age: 60\n", "#Dx: Unknown\n", "#Dx:\n", "#Diagnosis: AF\n"])
def test_records_without_a_statement_are_counted(folder, comments):
    write_record(folder, "B1", adc(5000, seed=9), suffix=".mat", comments=comments)
    assert prepare_cinc(folder).manifest["counts"]["without_statement"] == 1


def test_hash_in_the_manifest_is_that_of_the_samples(folder):
    import hashlib

    prepared = prepare_cinc(folder)
    expected = hashlib.sha256(np.ascontiguousarray(prepared.signals).tobytes()).hexdigest()
    assert prepared.manifest["signals_sha256"] == expected


def test_equal_signals_are_one_patient_where_none_is_published(folder):
    write_record(folder, "A0009", adc(5000, seed=2), suffix=".mat")
    write_record(folder, "B1", adc(5000, seed=3), comments="#Patient: 7\n#Dx: 1\n")
    records = prepare_cinc(folder).records.set_index("record")
    assert records.loc["A0009", "patient"] == records.loc["A0002", "patient"]
    assert records["patient"].nunique() == 7
    assert records.loc["B1", "patient"] == "cinc-7"


def break_missing(folder: Path) -> None:
    (folder / "A0003.mat").unlink()


def break_truncated(folder: Path) -> None:
    os.truncate(folder / "A0003.mat", 90_000)


def break_nan(folder: Path) -> None:
    samples = adc(5000)
    samples[:400, 5] = -32768
    write_record(folder, "A0003", samples, suffix=".mat")


def break_outside(folder: Path) -> None:
    path = folder / "A0003.hea"
    path.write_text(path.read_text().replace("A0003.mat", "../A0003.mat"))


def break_checksum(folder: Path) -> None:
    data = bytearray((folder / "A0003.mat").read_bytes())
    data[5000] ^= 255
    (folder / "A0003.mat").write_bytes(bytes(data))


BREAKS = [
    (break_missing, "cannot be read: No such file"),
    (break_truncated, "truncated"),
    (break_outside, "only a plain name in its own folder is read"),
    (break_checksum, "the checksum of a lead is wrong"),
]


@pytest.mark.parametrize(("break_it", "reason"), BREAKS)
@pytest.mark.parametrize("n_processes", [1, 2])
def test_damaged_record_stops_with_one_line_and_leaves_no_set(
    folder, break_it, reason, n_processes
):
    break_it(folder)
    with pytest.raises(
        DataError, match=f"1 of 6 records are damaged or missing: 1 x .*{reason}.*A0003"
    ) as e:
        prepare_cinc(folder, n_processes=n_processes)
    assert "\n" not in str(e.value)
    assert [path.name[0] for path in (folder.parent / "out").iterdir()] == ["."]


@pytest.mark.parametrize(("break_it", "reason"), BREAKS)
def test_broken_record_is_left_out_and_counted_on_request(folder, break_it, reason):
    break_it(folder)
    prepared = prepare_cinc(folder, DROP_BROKEN)
    assert prepared.manifest["counts"]["broken"] == 1
    assert "A0003" not in set(prepared.records["record"])
    assert len(prepared) == 5


def test_published_gap_leaves_a_record_out_and_stops_nothing(folder):
    break_nan(folder)
    manifest = prepare_cinc(folder).manifest
    assert (manifest["counts"]["kept"], manifest["counts"]["broken"]) == (5, 0)
    assert manifest["dropped_reasons"] == {"more than 1% of a lead's samples are missing": 1}


def test_all_damaged_records_are_listed_in_one_pass_by_reason(folder):
    for record in ("A0001", "A0004", "A0005"):
        (folder / f"{record}.mat").unlink()
    break_checksum(folder)
    with pytest.raises(DataError) as caught:
        prepare_cinc(folder)
    text = str(caught.value)
    assert "4 of 6 records are damaged or missing" in text
    assert "3 x its signal file cannot be read: No such file or directory (A0001, A0004" in text
    assert "1 x the checksum of a lead is wrong (A0003)" in text


def test_reasons_of_many_missing_files_are_one_row(folder):
    for record in ("A0001", "A0004", "A0005"):
        (folder / f"{record}.mat").unlink()
    reasons = prepare_cinc(folder, DROP_BROKEN).manifest["dropped_reasons"]
    assert reasons == {"its signal file cannot be read: No such file or directory": 3}


def files_of(prepared):
    names = ("signals.npy", "records.parquet", "manifest.json")
    return [(prepared.folder / name).read_bytes() for name in names]


def test_only_damaged_records_are_read_again(folder, tmp_path):
    whole = prepare("cinc", [folder], tmp_path / "whole", SETTINGS)
    data = (folder / "A0003.mat").read_bytes()
    break_truncated(folder)
    with pytest.raises(DataError, match="damaged"):
        prepare_cinc(folder)
    (folder / "A0003.mat").write_bytes(data)
    seen = []
    again = prepare_cinc(folder, on_progress=lambda *counts: seen.append(counts))
    assert seen == [(6, 6)]
    assert files_of(again) == files_of(whole)


@pytest.mark.parametrize("damage", ["none", "torn journal", "torn signal", "wrong signal"])
def test_interrupted_preparation_continues_where_it_stopped(folder, tmp_path, damage):
    whole = prepare("cinc", [folder], tmp_path / "whole", SETTINGS)

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_cinc(folder, on_progress=interrupt)
    part = next((folder.parent / "out").glob(".*.part"))
    if damage == "torn journal":
        os.truncate(part / "outcomes.jsonl", (part / "outcomes.jsonl").stat().st_size - 10)
    elif damage == "torn signal":
        os.truncate(part / "signals.npy", (part / "signals.npy").stat().st_size - 10)
    elif damage == "wrong signal":
        with (part / "signals.npy").open("r+b") as stream:
            stream.seek(30_000)
            stream.write(b"damaged")
    seen = []
    again = prepare_cinc(folder, on_progress=lambda done, total: seen.append(done))
    assert seen == ([5, 6] if damage == "none" else [4, 5, 6])
    assert files_of(again) == files_of(whole)
    assert [path.name for path in (folder.parent / "out").iterdir()] == [again.folder.name]


def test_killed_preparation_continues_where_it_stopped(folder, tmp_path):
    for number in range(6, 80):
        write_record(folder, f"A{number:04d}", adc(5000, seed=number), suffix=".mat")
    code = (
        "import os, signal, sys; from pathlib import Path; from ecgopt.data.prepare import *\n"
        "prepare('cinc', [Path(sys.argv[1])], Path(sys.argv[2]), PrepareSettings(), on_progress="
        "lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 70 else None)"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    seen = []
    prepare_cinc(folder, on_progress=lambda done, total: seen.append(done))
    assert seen[0] == 65


def test_the_set_is_the_same_whether_damaged_records_would_be_left_out_or_not(folder):
    assert prepare_cinc(folder).folder == prepare_cinc(folder, DROP_BROKEN).folder


def test_set_without_a_record_that_is_whole_again_is_not_reused(folder):
    data = (folder / "A0003.mat").read_bytes()
    break_checksum(folder)
    first = prepare_cinc(folder, DROP_BROKEN)
    assert prepare_cinc(folder, DROP_BROKEN).folder == first.folder
    (folder / "A0003.mat").write_bytes(data)
    with pytest.raises(DataError, match="without record A0003, which was damaged and is whole now"):
        prepare_cinc(folder, DROP_BROKEN)
    assert len(prepare_cinc(folder)) == 6


def test_empty_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="hold no record of this data set"):
        prepare("cinc", [tmp_path], tmp_path / "out", SETTINGS)


def test_absent_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: No such file or directory"):
        prepare("cinc", [tmp_path / "nowhere"], tmp_path / "out", SETTINGS)


def test_one_record_in_two_folders_is_a_data_error(folder, tmp_path):
    write_record(tmp_path / "more", "A0001", adc(5000))
    with pytest.raises(DataError, match=r"1 records occur twice \(A0001\)"):
        prepare("cinc", [folder, tmp_path / "more"], tmp_path / "out", SETTINGS)


def test_set_in_which_no_record_fits_is_a_data_error(tmp_path):
    write_record(tmp_path / "in", "A1", adc(100))
    with pytest.raises(DataError, match="no record fits: 1 x shorter than 10 s"):
        prepare("cinc", [tmp_path / "in"], tmp_path / "out", SETTINGS)


def test_destination_without_permission_is_a_data_error():
    # Not tmp_path: only its owner may enter that, and this test gives up being the owner.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_record(root / "in", "A0001", adc(5000))
        (root / "locked").mkdir(mode=0o555)
        root.chmod(0o755)
        with as_nobody(), pytest.raises(DataError, match=r"cannot write to .*locked"):
            prepare("cinc", [root / "in"], root / "locked/out", SETTINGS)


def test_unfinished_sets_go_after_a_week(folder):
    out = folder.parent / "out"
    for name, age_s in (("old", 8 * 86_400), ("new", 10)):
        (out / f".cinc-{name}.part").mkdir(parents=True)
        os.utime(out / f".cinc-{name}.part", (time.time() - age_s,) * 2)
    prepared = prepare_cinc(folder)
    assert {path.name for path in out.iterdir()} == {prepared.folder.name, ".cinc-new.part"}


def test_one_of_two_preparations_works_and_the_other_waits_for_its_set(folder):
    first_is_at_work, results, read = threading.Event(), [], []

    def work(done, total):
        first_is_at_work.set()
        read.append(done)
        time.sleep(0.05)

    def run():
        results.append(prepare_cinc(folder, on_progress=work))

    first, second = threading.Thread(target=run), threading.Thread(target=run)
    first.start()
    assert first_is_at_work.wait(timeout=20)
    second.start()
    first.join()
    second.join()
    assert read == [1, 2, 3, 4, 5, 6]
    assert results[0].folder == results[1].folder
    assert [path.name for path in (folder.parent / "out").iterdir()] == [results[0].folder.name]


@pytest.mark.parametrize("name", ["signals.npy", "records.parquet"])
def test_overwritten_samples_or_rows_are_refused_when_the_set_is_opened(folder, name):
    prepared = prepare_cinc(folder)
    with (prepared.folder / name).open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\0\1" * 20)
    with pytest.raises(DataError, match=f"{name} is not the file that was prepared: its SHA-256"):
        open_prepared(prepared.folder)
    with pytest.raises(DataError, match="SHA-256 differs"):
        prepare_cinc(folder)


def test_recheck_finds_what_time_and_size_of_a_file_hide(folder):
    prepared = prepare_cinc(folder)
    path = prepared.folder / "signals.npy"
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\0\1" * 20)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    open_prepared(prepared.folder)
    with pytest.raises(DataError, match="SHA-256 differs"):
        open_prepared(prepared.folder, recheck=True)


def test_copied_set_is_verified_again_and_set_of_another_machine_opens(folder, tmp_path):
    prepared = prepare_cinc(folder)
    copy = shutil.copytree(prepared.folder, tmp_path / "copy")
    (copy / "local.json").unlink()
    assert open_prepared(copy).fingerprint == prepared.fingerprint
    assert (copy / "local.json").exists()


def find(folder, settings=SETTINGS, folders=None):
    return find_prepared(source("cinc"), folder.parent / "out", settings, folders)


def test_the_set_of_the_files_as_they_are_is_found(folder):
    first = prepare_cinc(folder)
    header = folder / "A0000.hea"
    text = header.read_text()
    header.write_text(text.replace("426783006", "164889003"))
    with pytest.raises(DataError, match=f"have changed or moved since {first.folder.name} was"):
        find(folder)
    second = prepare_cinc(folder)
    assert find(folder) == second.folder
    header.write_text(text)
    assert find(folder) == first.folder
    assert find(folder, folders=[folder]) == first.folder


def test_set_without_damaged_records_is_found(folder):
    break_checksum(folder)
    assert find_or_none(folder) is None
    prepared = prepare_cinc(folder, DROP_BROKEN)
    assert find(folder) == prepared.folder


def find_or_none(folder):
    try:
        return find(folder)
    except DataError:
        return None


def test_other_settings_and_several_inputs_are_named(folder, tmp_path):
    prepare_cinc(folder, PrepareSettings(sampling_rate_hz=500))
    with pytest.raises(DataError, match=r"not prepared with --rate 100 .*, but with --rate 500"):
        find(folder)
    prepare_cinc(folder)
    write_record(tmp_path / "more", "B1", adc(5000))
    prepare("cinc", [tmp_path / "more"], tmp_path / "out", SETTINGS)
    with pytest.raises(DataError, match=r"is prepared from several inputs: .*choose one by --from"):
        find(folder)
    assert find(folder, folders=[tmp_path / "more"]).name != find(folder, folders=[folder]).name


def cpsc(folder):
    return prepare(
        "cpsc2018_native", [folder], folder.parent / "out", PrepareSettings(shorter="pad")
    )


def change_matlab_file(folder):
    data = bytearray((folder / "A0043.mat").read_bytes())
    data[20] ^= 1
    (folder / "A0043.mat").write_bytes(bytes(data))


def test_new_content_of_the_same_size_makes_a_new_set_where_headers_hold_no_checksum(tmp_path):
    folder = make_cpsc_native(tmp_path / "in")
    first = cpsc(folder)
    change_matlab_file(folder)
    assert cpsc(folder).fingerprint != first.fingerprint


def test_headers_without_checksums_count_by_the_content_of_their_signals(folder):
    header = folder / "A0003.hea"
    lines = [line.split() for line in header.read_text().splitlines()]
    header.write_text("\n".join(" ".join(w[:5] if len(w) > 8 else w) for w in lines) + "\n")
    first = prepare_cinc(folder)
    break_checksum(folder)
    assert prepare_cinc(folder).fingerprint != first.fingerprint


@pytest.mark.parametrize("name", ["odd.bin", "A0003.MAT"])
def test_signal_files_of_any_name_count_by_their_content_without_checksums(tmp_path, name):
    folder = tmp_path / "in"
    path = write_record(folder, "A0003", adc(5000), file_name=name)
    (folder / "A0003.dat").rename(folder / name)
    lines = [line.split() for line in path.read_text().splitlines()]
    no_sums = [[*w[:6], "0", *w[7:]] if len(w) > 8 else w for w in lines]
    path.write_text("\n".join(map(" ".join, no_sums)) + "\n")
    first = prepare("cinc", [folder], tmp_path / "out", SETTINGS).fingerprint
    (folder / name).write_bytes(adc(5000, seed=1).tobytes())
    assert prepare("cinc", [folder], tmp_path / "out", SETTINGS).fingerprint != first


def test_damaged_prepared_set_is_refused(folder):
    prepared = prepare_cinc(folder)
    (prepared.folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="damaged prepared set"):
        open_prepared(prepared.folder)


def test_folder_that_is_no_prepared_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is no prepared set: .*manifest\.json is missing"):
        open_prepared(tmp_path)


def test_prepared_set_survives_a_round_trip_through_its_files(folder):
    prepared = prepare_cinc(folder)
    opened = open_prepared(prepared.folder)
    assert opened.statements() == [{"426783006": 100.0}] * 6
    assert json.loads((opened.folder / "manifest.json").read_text()) == opened.manifest


def test_ptbxl_parts_are_one_set_of_1983_records(tmp_path):
    folders = [real("ptbxl_native"), real("ptbxl_resampled100")]
    prepared = prepare("ptbxl", folders, tmp_path, SETTINGS)
    assert len(prepared) == 1983
    assert prepared.records["fold"].notna().all()
    assert prepared.manifest["counts"]["dropped"] == 0


def test_gain_0_is_read_as_the_usual_one_and_counted(tmp_path):
    for name, gain in (("a", "0/mV"), ("b", "200/mV")):
        write_record(tmp_path / "in", name, adc(5000, seed=ord(name)), gain=gain)
    settings = PrepareSettings(sampling_rate_hz=500)
    prepared = prepare("cinc", [tmp_path / "in"], tmp_path / "out", settings)
    assert prepared.manifest["corrections"] == {
        "gain 0 in the header, read as 200 units per millivolt": 1
    }
    expected = adc(5000, seed=ord("a")).T * 5.0
    assert np.array_equal(prepared.signals[0], expected.clip(-32767, 32767))


def test_set_of_another_version_is_told_apart_from_other_settings(folder):
    made = prepare_cinc(folder).folder
    manifest = json.loads((made / "manifest.json").read_text())
    # As versions before wrote it: without the settings of this one.
    manifest["settings"].pop("flat_leads")
    manifest["prepare_version"] -= 1
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="cinc was prepared by another version of ecgopt; run"):
        find_prepared(source("cinc"), made.parent, SETTINGS)
