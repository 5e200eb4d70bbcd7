"""CODE-15%: 345,779 exams of the telehealth network of Minas Gerais, as published on Zenodo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ecgopt.data.csv_tables import Row, read_rows
from ecgopt.data.hdf5_files import open_dataset
from ecgopt.data.listing import Listing, existing_folders, find_files, listing
from ecgopt.data.records import NO_FINDING, Reading, RecordEntry, RecordFacts, age_of
from ecgopt.data.signals import LEADS, RawSignal, from_millivolts
from ecgopt.data.sources.code_test import CLASSES, MAX_SAMPLES, NORMAL, lead_order
from ecgopt.errors import DataError, RecordError

TABLE = "exams.csv"
_FLAGS = (*CLASSES, NORMAL)
_TRUE, _FALSE = {"true", "1", "1.0"}, {"false", "0", "0.0"}


@dataclass(frozen=True, slots=True)
class Code15Native:
    """Reads `exams.csv` and any of the files `exams_part0.hdf5` to `exams_part17.hdf5`.

    Each part holds `exam_id` and `tracings`, 4096 samples at 400 Hz in millivolts; exams of 7 and
    10 s are padded with zeros on both sides, and the last row of a part is empty.

    Source: Ribeiro et al. 2021, Zenodo 4916206.
    """

    name: str = "code15_native"
    sampling_rates_hz: tuple[float, ...] = (400.0,)
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return the table of exams."""
        return [_table(existing_folders(folders, self.name))]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the exams of the parts that are here, ordered by `exam_id`."""
        found = find_files(folders, self.name, ".hdf5")
        parts: dict[str, Path] = {}
        for path in found.files:
            part_of_exam = dict.fromkeys(map(str, rows_of_exams(path)), path)
            if twice := parts.keys() & part_of_exam.keys():
                raise DataError(f"{self.name}: exam {min(twice)} is in two parts; keep one")
            parts |= part_of_exam
        table = _table(folders)
        rows = read_rows(table, ("exam_id", "age", "is_male", "patient_id", *_FLAGS))
        entries, elsewhere = [], []
        for row in rows:
            exam = row["exam_id"].strip()
            if exam in parts:
                facts = _facts(row, table)
                entries.append(RecordEntry(record=exam, files=(parts[exam],), facts=facts))
            else:
                elsewhere.append(exam)
        named = {entry.record for entry in entries}
        aside = {
            "exam of a part that is not in the folders": elsewhere,
            "exam without a row": [exam for exam in parts if exam not in named],
            "hidden file": found.hidden,
        }
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one exam."""
        assert entry.facts is not None
        path = entry.files[0]
        row = rows_of_exams(path)[int(entry.record)]
        with open_dataset(path, "tracings", record=entry.record) as tracings:
            shape = tracings.shape
            if len(shape) != 3 or shape[2] != len(LEADS) or not 0 < shape[1] <= MAX_SAMPLES:
                raise RecordError(
                    entry.record, "tracings must be (exam, time, 12)", f"{path.name}: is {shape}"
                )
            microvolts = np.ascontiguousarray(from_millivolts(tracings[row].T))
        return Reading(entry.facts, RawSignal(microvolts, lead_order(path), 400.0))


def _table(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / TABLE).exists():
            return folder / TABLE
    raise DataError(f"code15_native: none of the folders holds {TABLE}")


@cache
def rows_of_exams(path: Path) -> Mapping[int, int]:
    """Return exam to row in the part `path`.

    Raises:
        RecordError: the part is damaged, or names no exams.
    """
    with open_dataset(path, "exam_id", record=path.stem) as exams:
        if exams.ndim != 1 or exams.dtype.kind not in "iu" or len(exams) > 1 << 20:
            raise RecordError(path.stem, f"exam_id must be a list of whole numbers, in {path.name}")
        # The empty last row has the number 0.
        return {exam: row for row, exam in enumerate(exams[()].tolist()) if exam}


def _facts(row: Row, table: Path) -> RecordFacts:
    for name in (*_FLAGS, "is_male"):
        if row[name].strip().lower() not in _TRUE | _FALSE:
            raise DataError(
                f"{table}: line {row.line}: {name} must be True or False, but is {row[name][:40]!r}"
            )
    found = {name: 100.0 for name in _FLAGS if row[name].strip().lower() in _TRUE}
    return RecordFacts(
        # As in the challenge's copy, so that both are known for the same person.
        patient=f"code15-{row['patient_id'].strip()}",
        age_years=age_of(row["age"]),
        sex="male" if row["is_male"].strip().lower() in _TRUE else "female",
        statements=found or {NO_FINDING: 100.0},
    )
