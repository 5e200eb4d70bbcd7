"""Small data sets in the official layouts of those whose files are not at hand."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from ecg_files import adc, real, write_record

from ecgopt.data.signals import LEADS


def limb_consistent(n_samples: int, *, seed: int = 0) -> np.ndarray:
    """Return twelve leads in microvolts (time, lead) that obey Einthoven and Goldberger."""
    signal = adc(n_samples, seed=seed).astype(np.float64)
    one, two = signal[:, 0], signal[:, 1]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.column_stack([*limb, signal[:, 6:]])


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_code_test(folder: Path, *, n: int = 8, order: tuple[str, ...] = LEADS) -> Path:
    """Write CODE-test: exams of 7 s and 10 s by turns, padded with zeros to 4096 samples."""
    tracings = np.zeros((n, 4096, 12))
    for row in range(n):
        length = 2800 if row % 2 else 4000
        start = (4096 - length) // 2
        signal = limb_consistent(length, seed=row)
        tracings[row, start : start + length] = signal[:, [LEADS.index(x) for x in order]] / 1000
    (folder / "data").mkdir(parents=True)
    with h5py.File(folder / "data" / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = tracings
    people = [{"age": 30 + row, "sex": "MF"[row % 2]} for row in range(n)]
    write_table(folder / "data" / "attributes.csv", people)
    names = ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"]
    flags = [{name: int(row == i) for i, name in enumerate(names)} for row in range(n)]
    write_table(folder / "data" / "annotations" / "gold_standard.csv", flags)
    return folder


def make_code15_native(folder: Path, *, n: int = 4) -> Path:
    """Write two parts of CODE-15% as published: the last row of each is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for part in range(2):
        tracings = np.zeros((n + 1, 4096, 12), dtype=np.float32)
        exams = np.zeros(n + 1, dtype=np.int64)
        for row in range(n):
            exams[row] = 1000 * part + 7 * row + 11
            tracings[row, 48:4048] = limb_consistent(4000, seed=10 * part + row) / 1000
            flags = {name: row == i for i, name in enumerate(("1dAVb", "RBBB", "LBBB"))}
            rows.append(
                {
                    "exam_id": exams[row], "age": 40 + row, "is_male": row % 2 == 0,
                    "nn_predicted_age": 41.5, **flags, "SB": False, "ST": False, "AF": False,
                    "patient_id": 100 + row, "death": "", "timey": "",
                    "normal_ecg": row == 3 and part == 0, "trace_file": f"exams_part{part}.hdf5",
                }
            )  # fmt: skip
        with h5py.File(folder / f"exams_part{part}.hdf5", "w") as file:
            file["exam_id"] = exams
            file["tracings"] = tracings
    write_table(folder / "exams.csv", rows)
    return folder


def make_samitrop(folder: Path, *, n: int = 5) -> Path:
    """Write SaMi-Trop as published: exams in the order of the table, whose numbers do not rise."""
    folder.mkdir(parents=True, exist_ok=True)
    tracings = np.zeros((n, 4096, 12), dtype=np.float32)
    rows = []
    for row in range(n):
        tracings[row, 48:4048] = limb_consistent(4000, seed=row) / 1000
        rows.append(
            {
                "exam_id": 900 - 7 * row, "age": 50 + row, "is_male": row % 2 == 0,
                "normal_ecg": row == 1, "death": row == 2, "timey": 1.5, "nn_predicted_age": 60.5,
            }
        )  # fmt: skip
    with h5py.File(folder / "exams.hdf5", "w") as file:
        file["tracings"] = tracings
    write_table(folder / "exams.csv", rows)
    return folder


PTB_COMMENTS = "# age: 81\n# sex: female\n# ECG date: 01/10/1990\n# Diagnose:\n"


def make_ptb(folder: Path) -> Path:
    """Write PTB: 15 signals in two files, patients as folders, the diagnosis in a comment."""
    reasons = ["Myocardial infarction", "Healthy control", "n/a"]
    leads = [lead.lower() for lead in LEADS]
    for patient, reason in enumerate(reasons, start=1):
        for record in range(1 + (patient == 1)):
            name, samples = f"s{patient:02d}{record}_re", adc(12_000, seed=patient)
            comments = PTB_COMMENTS + f"# Reason for admission: {reason}\n"
            path = write_record(
                folder / f"patient{patient:03d}", name, samples, rate=1000, gain="2000",
                leads=tuple(leads), comments=comments,
            )  # fmt: skip
            frank = adc(12_000, seed=99, n_leads=3)
            path.with_suffix(".xyz").write_bytes(frank.tobytes())
            text = path.read_text().replace(f"{name} 12 ", f"{name} 15 ", 1)
            head, tail = text.split("# age", 1)
            for i, lead in enumerate(["vx", "vy", "vz"]):
                head += f"{name}.xyz 16 2000 16 0 0 {int(frank[:, i].sum()) & 0xFFFF} 0 {lead}\n"
            path.write_text(head + "# age" + tail)
    return folder


def make_sph(folder: Path) -> Path:
    """Lay out real SPH signals as the official data set does."""
    rows = []
    for source in sorted(real("sph_h5").glob("*.h5")):
        name = source.stem.replace("SPH", "A")
        target = folder / "records" / f"{name}.h5"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        rows.append(
            {"ECG_ID": name, "AHA_Code": "50+346;22", "Patient_ID": "S1", "Age": 55, "Sex": "M"}
        )
    write_table(folder / "metadata.csv", rows)
    return folder


def make_cpsc_native(folder: Path) -> Path:
    """Put the real A1981.mat beside REFERENCE.csv and add a made record."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(real("cpsc2018_native_mat", "A1981.mat"), folder / "A1981.mat")
    reference = real("metadata", "cpsc2018_REFERENCE.csv")
    shutil.copyfile(reference, folder / "REFERENCE.csv")
    data = limb_consistent(6000).T / 1000
    struct = {"sex": "Male", "age": 61, "data": data}
    scipy.io.savemat(folder / "A0043.mat", {"ECG": struct}, do_compression=True)
    return folder


OWN_TOML = """
name = "clinic"
records = "ecgs"
table = "findings.csv"
columns = { record = "file", patient = "person", age = "age", sex = "sex", fold = "fold" }
statements = { flags = ["AF", "LBBB"] }
"""


def make_own(folder: Path) -> Path:
    """Write a user's own data set with a description, and return the description's path."""
    rows = []
    for number in range(6):
        name = f"ward{number % 2}/ecg{number}"
        samples = limb_consistent(5000, seed=number).round().astype("<i2")
        write_record(folder / "ecgs" / f"ward{number % 2}", f"ecg{number}", samples)
        rows.append(
            {
                "file": name,
                "person": f"p{number // 2}",
                "age": 40 + number,
                "sex": "F",
                "fold": number % 3,
                "AF": number % 2,
                "LBBB": int(number == 4),
            }
        )
    write_table(folder / "findings.csv", rows)
    (folder / "clinic.toml").write_text(OWN_TOML, encoding="utf-8")
    return folder / "clinic.toml"
