import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import adc, real, write_record
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgopt.data import wfdb_files
from ecgopt.data.conditioning import condition
from ecgopt.data.signals import LEADS, PrepareSettings
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import RecordError


def read(path: Path):
    return read_wfdb(read_header(path), path.parent)


def assert_equal_millivolts(ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    # The last bit may differ where a gain is no power of ten; a femtovolt is far below any ADC.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12, err_msg=name)


def headers_wfdb_can_read() -> list[Path]:
    folders = ["cinc2021_utu", "cinc2021_deeppsp", "cinc2020_awwong1", "chagas2025_code15"]
    folders += ["quirks", "ptbxl_native/records500"]
    found: list[Path] = []
    for folder in folders:
        found += sorted(real(folder).rglob("*.hea"))
    found += sorted(real("ptbxl_native/records100").rglob("*.hea"))[::10]
    return found


def test_signals_equal_wfdbs_own_reading_wherever_wfdb_can_read_them():
    compared = 0
    for path in headers_wfdb_can_read():
        try:
            record = wfdb.rdrecord(str(path.with_suffix("")))
        except wfdb.io.header.HeaderSyntaxError:
            continue
        ours = read(path)
        assert_equal_millivolts(ours.microvolts / 1000, record.p_signal.T, str(path))
        assert ours.sampling_rate_hz == record.fs
        compared += 1
    assert compared > 200


def test_georgia_records_that_wfdb_refuses_equal_its_reading_under_a_mended_header(tmp_path):
    path = real("cinc2021_deeppsp", "E07502.hea")
    text = path.read_text().replace("E07502.mat 12", "E07502 12").replace("05-May-2020 ", "")
    (tmp_path / "E07502.hea").write_text(text)
    (tmp_path / "E07502.mat").write_bytes(path.with_suffix(".mat").read_bytes())
    expected = wfdb.rdrecord(str(tmp_path / "E07502")).p_signal.T
    assert_equal_millivolts(read(path).microvolts / 1000, expected, "E07502")


def test_other_formats_are_read_through_wfdb(tmp_path):
    samples = adc(600).astype(np.int64) // 16
    wfdb.wrsamp(
        "f212",
        fs=500,
        units=["mV"] * 2,
        sig_name=["I", "II"],
        d_signal=samples[:, :2],
        fmt=["212"] * 2,
        adc_gain=[200.0] * 2,
        baseline=[0] * 2,
        write_dir=str(tmp_path),
    )
    signal = read(tmp_path / "f212.hea")
    np.testing.assert_allclose(signal.microvolts.T, samples[:, :2] * 5.0, atol=1e-9)


def in_two_files(folder: Path, names: tuple[str, ...], unit: str = "mV") -> tuple[Path, np.ndarray]:
    """Write the last signals of a record, called `names`, to a second file."""
    path = write_record(folder, "r", adc(50))
    lines = path.read_text().split("#")[0].splitlines()
    extra = adc(50, seed=1)[:, : len(names)]
    (folder / "r.xyz").write_bytes(extra.tobytes())
    kept = [line for line in lines if line.split()[-1] not in names]
    for i, lead in enumerate(names):
        kept.append(f"r.xyz 16 2000/{unit} 16 0 0 {int(extra[:, i].sum())} 0 {lead}")
    n_first = len(kept) - 1 - len(names)
    (folder / "r.dat").write_bytes(np.ascontiguousarray(adc(50)[:, :n_first]).tobytes())
    kept[0] = f"r {len(kept) - 1} 500 50"
    path.write_text("\n".join(kept) + "\n")
    return path, extra


def test_signals_in_two_files_are_joined(tmp_path):
    path, extra = in_two_files(tmp_path, ("V5", "V6"))
    signal = read(path)
    assert signal.leads == LEADS
    np.testing.assert_array_equal(signal.microvolts[10:].T, extra * 0.5)
    np.testing.assert_array_equal(signal.microvolts[:10].T, adc(50)[:, :10])


def test_signals_that_are_no_lead_are_not_judged_and_their_file_may_be_absent(tmp_path):
    path, _ = in_two_files(tmp_path, ("vx", "vy", "vz"), unit="Ohm")
    (tmp_path / "r.xyz").unlink()
    signal = read(path)
    assert signal.leads == LEADS
    np.testing.assert_array_equal(signal.microvolts.T, adc(50))


@pytest.mark.parametrize("storage", ["16", "212"])
def test_signal_of_another_unit_among_the_leads_is_left_aside(tmp_path, storage):
    samples = np.clip(adc(60), -2000, 2000).astype(np.int64)
    wfdb.wrsamp(
        "r", fs=500, d_signal=np.column_stack([samples[:, :1], samples]), fmt=[storage] * 13,
        units=["Ohm"] + ["mV"] * 12, sig_name=["RESP", *LEADS], adc_gain=[200.0] * 13,
        baseline=[0] * 13, write_dir=str(tmp_path),
    )  # fmt: skip
    signal = read(tmp_path / "r.hea")
    assert signal.leads == LEADS
    np.testing.assert_allclose(signal.microvolts.T, samples * 5.0, atol=1e-9)


def test_checksums_that_are_all_0_were_not_computed(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    lines = [line.split() for line in path.read_text().splitlines()]
    text = [" ".join([*w[:6], "0", *w[7:]]) if len(w) > 8 else " ".join(w) for w in lines]
    path.write_text("\n".join(text) + "\n")
    np.testing.assert_array_equal(read(path).microvolts.T, adc(50))


def test_missing_sample_value_becomes_nan(tmp_path):
    samples = adc(50)
    samples[7, 3] = -32768
    missing = np.isnan(read(write_record(tmp_path, "r", samples)).microvolts)
    assert missing.sum() == 1
    assert missing[3, 7]


def test_baseline_and_gain_are_applied(tmp_path):
    samples = adc(50)
    signal = read(write_record(tmp_path, "r", samples, gain="4880(10)/mV"))
    np.testing.assert_array_equal(signal.microvolts, (samples.T - 10.0) / 4880 * 1000)


def test_length_absent_from_the_header_comes_from_the_file(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    path.write_text(path.read_text().replace("r 12 500 50", "r 12 500"))
    assert read(path).microvolts.shape == (12, 50)


def test_missing_signal_file_is_named(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    (tmp_path / "r.dat").unlink()
    with pytest.raises(
        RecordError, match=r"record r: its signal file cannot be read: No such .*r\.dat"
    ):
        read(path)


def test_truncated_signal_file_is_refused(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    data = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(data[:-24])
    with pytest.raises(RecordError, match=r"r\.dat: 50 samples of 12 leads expected, 49 found"):
        read(path)


def test_empty_signal_file_is_refused(tmp_path):
    path = write_record(tmp_path, "r", adc(50), suffix=".mat")
    (tmp_path / "r.mat").write_bytes(b"")
    with pytest.raises(RecordError, match="truncated"):
        read(path)


def test_announced_length_allocates_nothing(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    path.write_text(path.read_text().replace("500 50", "500 2000000000"))
    with pytest.raises(RecordError, match=r"truncated \(r\.dat: 2000000000 samples"):
        read(path)


def test_wrong_checksum_is_refused(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    data = bytearray((tmp_path / "r.dat").read_bytes())
    data[100] ^= 1
    (tmp_path / "r.dat").write_bytes(bytes(data))
    with pytest.raises(RecordError, match=r"lead III has \d+, the header says \d+"):
        read(path)


def write_in_format(folder: Path, storage: str, *, frames: int = 1, skew: int = 0) -> Path:
    """Write a record by wfdb's own writer, whose header states the checksums."""
    samples = np.clip(adc(500), -100, 100).astype(np.int64)
    options = {"fmt": [storage] * 12, "adc_gain": [200.0] * 12, "baseline": [0] * 12}
    names = {"sig_name": list(LEADS), "units": ["mV"] * 12}
    if frames > 1:
        wfdb.wrsamp(
            "r", fs=500, e_d_signal=list(samples.T), samps_per_frame=[frames] * 12,
            write_dir=str(folder), **names, **options,
        )  # fmt: skip
    else:
        wfdb.wrsamp("r", fs=500, d_signal=samples, write_dir=str(folder), **names, **options)
    path = folder / "r.hea"
    if skew:
        path.write_text(path.read_text().replace(f" {storage} ", f" {storage}:{skew} ", 2))
    return path


@pytest.mark.parametrize(
    ("storage", "options"),
    [
        *((storage, {}) for storage in ("24", "32", "80", "212", "508", "516", "524")),
        ("16", {"frames": 2}),
        ("16", {"skew": 3}),
    ],
)
def test_checksums_of_every_format_are_verified(tmp_path, storage, options):
    path = write_in_format(tmp_path, storage, **options)
    assert read(path).microvolts.shape[0] == 12
    first, second, *rest = path.read_text().splitlines()
    fields = second.split()
    fields[6] = str((int(fields[6]) + 1) % 65536)
    path.write_text("\n".join([first, " ".join(fields), *rest]) + "\n")
    with pytest.raises(RecordError, match="the checksum of a lead is wrong"):
        read(path)


STORED = [
    *((storage, {}) for storage in ("16", "24", "32", "80", "212", "516")),
    ("16", {"frames": 2}),
    ("16", {"skew": 3}),
]


@pytest.mark.parametrize("longer", ["first", "centre"])
@pytest.mark.parametrize(("storage", "options"), STORED)
def test_long_record_is_read_in_blocks_and_its_needed_part_is_that_of_the_whole(
    tmp_path, monkeypatch, storage, options, longer
):
    path = write_in_format(tmp_path, storage, **options)
    whole = read(path)
    monkeypatch.setattr(wfdb_files, "_BLOCK_SAMPLES", 12 * 64)
    settings = PrepareSettings(seconds=0.2, longer=longer)
    part = read_wfdb(read_header(path), tmp_path, settings)
    assert part.n_samples == whole.n_samples == whole.microvolts.shape[1]
    n_read = part.microvolts.shape[1]
    assert n_read < 250
    np.testing.assert_array_equal(
        part.microvolts, whole.microvolts[:, part.first : part.first + n_read]
    )
    first, second = condition(whole, settings), condition(part, settings)
    np.testing.assert_array_equal(first.signal, second.signal)


@pytest.mark.parametrize("storage", ["16", "212", "24"])
def test_wrong_sample_beyond_the_needed_part_is_found(tmp_path, monkeypatch, storage):
    path = write_in_format(tmp_path, storage)
    monkeypatch.setattr(wfdb_files, "_BLOCK_SAMPLES", 12 * 64)
    data = bytearray((tmp_path / "r.dat").read_bytes())
    data[-3] ^= 1
    (tmp_path / "r.dat").write_bytes(bytes(data))
    with pytest.raises(RecordError, match="the checksum of a lead is wrong"):
        read_wfdb(read_header(path), tmp_path, PrepareSettings(seconds=0.1))


READ_24_HOURS = r"""
import re, sys
from pathlib import Path
from ecgopt.data.prepare import PrepareSettings, prepare
prepared = prepare("cinc", [Path(sys.argv[1])], Path(sys.argv[2]), PrepareSettings())
# Not ru_maxrss, which a process inherits from the one that started it.
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(prepared.records["seconds"][0], int(peak.group(1)) / 1024)
"""


def test_record_of_24_hours_is_prepared_in_less_than_300_mib(tmp_path):
    samples = adc(5000)
    path = write_record(tmp_path / "in", "r", samples)
    n_samples = 24 * 3600 * 500
    path.write_text(path.read_text().replace("500 5000", f"500 {n_samples}"))
    with (tmp_path / "in" / "r.dat").open("r+b") as stream:
        # The file has no blocks on disk where only zeros follow.
        stream.truncate(24 * n_samples)
    command = [sys.executable, "-c", READ_24_HOURS, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split())
    assert seconds == 86_400
    assert mebibytes < 300


def test_format_without_its_number_of_samples_is_refused(tmp_path):
    path = write_in_format(tmp_path, "212")
    path.write_text(path.read_text().replace("500 500", "500", 1))
    with pytest.raises(RecordError, match="must state the number of samples"):
        read(path)


def test_unit_that_is_no_voltage_is_refused(tmp_path):
    path = write_record(tmp_path, "r", adc(50), gain="1000/mmHg")
    with pytest.raises(RecordError, match=r"the unit of a lead is no voltage \(I\)"):
        read(path)


def test_header_cannot_name_a_file_outside_its_folder(tmp_path):
    (tmp_path / "secret.dat").write_bytes(adc(50).tobytes())
    path = write_record(tmp_path / "set", "r", adc(50), file_name="../secret.dat")
    with pytest.raises(RecordError, match=r"names the file '\.\./secret\.dat'"):
        read(path)


def test_bytes_wfdb_cannot_read_are_a_record_error(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    header = path.read_text()
    path.write_text(header.replace(" 16 1000", " 508 1000"))
    with pytest.raises(RecordError, match="wfdb cannot read it"):
        read(path)
    path.write_text(header.replace(" 16 1000", " 999 1000"))
    with pytest.raises(RecordError, match="unknown format '999'"):
        read(path)


def test_format_61_is_the_same_samples_in_the_other_byte_order(tmp_path):
    samples = adc(700)
    path = write_record(tmp_path, "r", samples)
    path.write_text(path.read_text().replace(" 16 1000", " 61 1000"))
    (tmp_path / "r.dat").write_bytes(samples.astype(">i2").tobytes())
    assert_equal_millivolts(
        read(path).microvolts / 1000, wfdb.rdrecord(str(tmp_path / "r")).p_signal.T, "r"
    )
    path.write_text(path.read_text().replace(" 61 ", " 16 ", 1))
    with pytest.raises(RecordError, match="differ in byte offset or byte order"):
        read(path)


@pytest.mark.parametrize("name", ["r.DAT", "R.DAT"])
def test_signal_file_in_capitals_is_found(tmp_path, name):
    path = write_record(tmp_path, "r", adc(50))
    (tmp_path / "r.dat").rename(tmp_path / name)
    assert read(path).microvolts.shape == (12, 50)


def test_name_that_no_file_can_have_is_a_record_error(tmp_path):
    path = write_record(tmp_path, "r", adc(50), file_name="x" * 300)
    with pytest.raises(RecordError, match="File name too long"):
        read(path)


def test_announced_length_allocates_nothing_in_other_formats_either(tmp_path):
    path = write_record(tmp_path, "r", adc(50))
    text = path.read_text().replace("500 50", "500 2000000000").replace(".dat 16 ", ".dat 212 ")
    path.write_text(text)
    with pytest.raises(RecordError, match="samples cannot be in 1200 bytes"):
        read(path)


@pytest.fixture(scope="module")
def opened_files():
    """Give the list of files opened since the test cleared it."""
    opened: list[str] = []

    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            opened.append(os.fsdecode(arguments[0]))

    sys.addaudithook(hook)
    return opened


NAMES = st.sampled_from(
    [
        "r.dat",
        "../secret.dat",
        "..",
        "sub/../../secret.dat",
        "/etc/passwd",
        "r.dat\t",
        "%2e%2e/x",
        "~",
    ]
)
STORAGE = st.sampled_from(["16", "16+24", "212", "16x2", "8", "24:3", "310", "80", "516", "0"])


@settings(max_examples=150)
@given(name=NAMES, storage=STORAGE, n_signals=st.integers(1, 3), n=st.integers(0, 10**11))
def test_no_header_makes_the_reader_open_a_file_outside(
    tmp_path, opened_files, name, storage, n_signals, n
):
    folder = tmp_path / "set"
    folder.mkdir(exist_ok=True)
    (tmp_path / "secret.dat").write_bytes(bytes(600))
    (folder / "r.dat").write_bytes(bytes(600))
    lines = [f"r {n_signals} 500 {n}"] + [f"{name} {storage} 200 16 0 0 0 0 I"] * n_signals
    (folder / "r.hea").write_text("\n".join(lines))
    opened_files.clear()
    with contextlib.suppress(RecordError):
        read(folder / "r.hea")
    below = [os.path.realpath(path) for path in opened_files if str(tmp_path) in str(path)]
    assert all(path.startswith(str(folder)) for path in below)
    assert not any("passwd" in path for path in opened_files)


@pytest.mark.parametrize(
    ("head", "name"), [(b"MATLAB 5.0 MAT-file", "MATLAB v5"), (b"\x89HDF\r\n\x1a\n", "HDF5")]
)
@pytest.mark.parametrize("size", [300, 24 * 5000 + 24])
def test_signal_file_of_another_format_is_named(tmp_path, head, name, size):
    path = write_record(tmp_path, "r", adc(5000), suffix=".mat")
    (tmp_path / "r.mat").write_bytes(head + bytes(size - len(head)))
    with pytest.raises(RecordError, match=f"its signal file is of the format {name}, not"):
        read_wfdb(read_header(path), tmp_path)
