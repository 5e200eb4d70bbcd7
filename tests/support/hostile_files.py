"""Damages the files of small data sets at random, and prepares and reads what is left."""

import csv
import random
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import wfdb
from clinic_files import (
    sierra_leads,
    write_aecg,
    write_dicom,
    write_edf,
    write_muse,
    write_sierra,
)
from ecg_files import adc, write_record
from made_sets import (
    make_code15_native,
    make_code_test,
    make_cpsc_native,
    make_own,
    make_ptb,
    make_samitrop,
    make_sph,
    write_table,
)

from ecgopt.data.clinic.arrays import ArrayForm
from ecgopt.data.clinic.importing import ImportSettings, import_files
from ecgopt.data.describe import describe
from ecgopt.data.prepare import prepare
from ecgopt.data.signals import LEADS, PrepareSettings
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import UserError, printable

CLINIC = "clinic"
"""In place of a data set's name: the files are imported."""

LIBRARIES = {"DICOM": "pydicom", "EDF": "edfio", "Excel table": "openpyxl"}
"""What a set needs besides the package's own dependencies."""

TOKENS = (
    b"", b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"\x1b[31m", b"\0", b"\xff\xfe",
    b'"', b",", b"\n", b"\r", b"/", b"../", b":", b"#", b"{", b"\xc3\x28", b"2147483648", b"0.0001",
)  # fmt: skip


def make_challenge(folder: Path) -> Path:
    """Write records with a Chagas label, a patient and several diagnoses."""
    for number in range(2):
        comments = f"#Age: 5{number}\n#Sex: F\n#Dx: 426783006,164889003\n#Patient: {number}\n"
        write_record(folder, f"A000{number}", adc(5200, seed=number), comments=comments)
    return folder


def make_packed(folder: Path) -> Path:
    """Write records that are read through wfdb."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = np.clip(adc(5200), -2000, 2000).astype(np.int64)
    for storage in ("212", "24", "516", "80"):
        wfdb.wrsamp(
            f"r{storage}", fs=500, units=["mV"] * 12, sig_name=list(LEADS), fmt=[storage] * 12,
            d_signal=samples // (20 if storage == "80" else 1), adc_gain=[200.0] * 12,
            baseline=[0] * 12, write_dir=str(folder),
        )  # fmt: skip
    return folder


def make_ptbxl(folder: Path) -> Path:
    """Write two records in the layout of PTB-XL."""
    rows = []
    for number in (1, 2):
        write_record(folder / "r", f"{number}_lr", adc(1000, seed=number), rate=100)
        rows.append(
            {
                "ecg_id": number, "patient_id": f"{number}.0", "age": 50, "sex": 1,
                "scp_codes": "{'NORM': 100.0, 'SR': 0.0}", "strat_fold": number,
                "filename_lr": f"r/{number}_lr", "filename_hr": f"r/{number}_hr",
            }
        )  # fmt: skip
    write_table(folder / "ptbxl_database.csv", rows)
    return folder


def make_clinic(write: Callable[..., Path], suffix: str) -> Callable[[Path], Path]:
    """Return the maker of a folder of two files of a clinic's format."""

    def make(folder: Path) -> Path:
        for number in range(2):
            if write is write_sierra:
                write(folder / f"{number}{suffix}", sierra_leads(600))
            else:
                samples = adc(1000, seed=number)
                write(
                    folder / f"{number}{suffix}", samples[:, :8] if write is write_muse else samples
                )
        return folder

    return make


def make_arrays(folder: Path) -> Path:
    """Write a NumPy array, an HDF5 array and a CSV file of one recording."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = adc(600)
    np.save(folder / "a.npy", samples[None].astype(np.float32))
    with h5py.File(folder / "b.h5", "w") as file:
        file["ecg"] = samples.T
    lines = [";".join(map(str, row)) for row in samples[:50].tolist()]
    (folder / "c.csv").write_text("\n".join([";".join(LEADS), *lines]))
    return folder


def make_joined(folder: Path) -> Path:
    """Write own data with a joined Parquet table."""
    path = make_own(folder)
    path.write_text(
        path.read_text() + '[[joins]]\ntable = "more.parquet"\nkey = "file"\n', encoding="utf-8"
    )
    files = [f"ward{number % 2}/ecg{number}" for number in range(6)]
    pd.DataFrame({"file": files, "height": [1.7] * 6}).to_parquet(folder / "more.parquet")
    return path


def make_excel(folder: Path) -> Path:
    """Write own data with its table in Excel's format."""
    import openpyxl

    path = make_own(folder)
    path.write_text(path.read_text().replace("findings.csv", "findings.xlsx"), encoding="utf-8")
    book = openpyxl.Workbook()
    for row in csv.reader((folder / "findings.csv").read_text().splitlines()):
        book.active.append(row)
    book.save(folder / "findings.xlsx")
    return path


SETS: Mapping[str, tuple[Callable[[Path], Path], str, tuple[str, ...]]] = {
    "headers": (make_challenge, "cinc", ("*.hea",)),
    "signals": (make_challenge, "cinc", ("*.dat",)),
    "packed signals": (make_packed, "cinc", ("*.dat", "*.hea")),
    "PTB": (make_ptb, "ptb", ("*.hea",)),
    "PTB-XL's table": (make_ptbxl, "ptbxl", ("ptbxl_database.csv",)),
    "MATLAB files": (make_cpsc_native, "cpsc2018_native", ("*.mat",)),
    "table of CPSC2018": (make_cpsc_native, "cpsc2018_native", ("*.csv",)),
    "HDF5 files of SPH": (make_sph, "sph", ("*.h5",)),
    "table of SPH": (make_sph, "sph", ("*.csv",)),
    "HDF5 file of CODE-test": (make_code_test, "code_test", ("*.hdf5",)),
    "tables of CODE-test": (make_code_test, "code_test", ("*.csv",)),
    "HDF5 files of CODE-15%": (make_code15_native, "code15_native", ("*.hdf5",)),
    "table of CODE-15%": (make_code15_native, "code15_native", ("*.csv",)),
    "HDF5 file of SaMi-Trop": (make_samitrop, "samitrop", ("*.hdf5",)),
    "GE MUSE XML": (make_clinic(write_muse, ".xml"), CLINIC, ("*",)),
    "HL7 aECG": (make_clinic(write_aecg, ".xml"), CLINIC, ("*",)),
    "Philips Sierra XML": (make_clinic(write_sierra, ".xml"), CLINIC, ("*",)),
    "DICOM": (make_clinic(write_dicom, ".dcm"), CLINIC, ("*",)),
    "EDF": (make_clinic(write_edf, ".edf"), CLINIC, ("*",)),
    "arrays": (make_arrays, CLINIC, ("*",)),
    "joined Parquet table": (make_joined, "own", ("*.parquet",)),
    "Excel table": (make_excel, "own", ("*.xlsx",)),
    "own table": (make_own, "own", ("*.csv",)),
    "own description": (make_own, "own", ("*.toml",)),
}
"""What is damaged: how the set is made, who reads it, and the patterns of the damaged files."""


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return `data` after a few random changes."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        # Headers of files decide the most, so early positions are drawn more often.
        at = int(len(data) * rng.random() ** rng.choice((1, 3)))
        end = min(len(data), at + rng.choice((0, 1, 1, 2, 4, 8, 200)))
        change = rng.choice(
            (
                rng.choice(TOKENS),
                rng.randbytes(end - at),
                bytes([255]) * (end - at),
                data[at:end] * 2,
                data[:0],
            )
        )
        data = data[:at] + change + data[end:]
        if rng.random() < 0.1:
            data = data[:at]
    return data


def prepare_damaged(kind: str, made: Path, folder: Path, seed: int) -> None:
    """Damage a copy of a set in `folder` and prepare it; nothing but a UserError may come out.

    Args:
        kind: Key of `SETS`.
        made: The set as `made_set` wrote it.
        folder: Gets the damaged copy and what is prepared from it; must not exist, is removed.
        seed: Decides the damage.
    """
    _, source, patterns = SETS[kind]
    rng = random.Random(seed)
    copy = folder / "in"
    shutil.copytree(made, copy)
    for pattern in patterns:
        for path in copy.rglob(pattern):
            path.write_bytes(damaged(path.read_bytes(), rng))
    own = source == "own"
    try:
        if source == CLINIC:
            import_damaged(copy, folder / "out")
            return
        if own:
            describe_damaged(copy)
        prepared = prepare(
            str(next(copy.rglob("*.toml"))) if own else source,
            [] if own else [copy],
            folder / "out",
            PrepareSettings(shorter="pad", broken="drop"),
        )
        assert np.isfinite(prepared.signals).all()
    except UserError as error:
        refuse_escapes(str(error))
    finally:
        shutil.rmtree(folder)


def import_damaged(copy: Path, out: Path) -> None:
    """Import damaged files; every record that comes out must be readable."""
    arrays = ArrayForm(rate=500.0, unit="uV", dataset="ecg")
    found = import_files([copy], out, ImportSettings(arrays=arrays))
    for reason in found.failed.values():
        refuse_escapes(printable(reason))
    headers = sorted(out.glob("*.hea"))
    assert len(headers) == found.records
    for header in headers:
        read_wfdb(read_header(header), out)


def describe_damaged(copy: Path) -> None:
    """Describe a damaged folder; what comes out must be TOML."""
    try:
        tomllib.loads(describe(copy, copy).text)
    except UserError as error:
        refuse_escapes(str(error))


def made_set(kind: str, folder: Path) -> Path:
    """Write the sound set of `kind` to `folder`."""
    made = SETS[kind][0](folder)
    return made if made.is_dir() else made.parent


def refuse_escapes(message: str) -> None:
    """Raise if a terminal would obey a part of `message`."""
    assert "\x1b" not in message, repr(message)
