"""SaMi-Trop: 1,631 exams of patients with Chagas cardiomyopathy, as published on Zenodo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ecgopt.data.csv_tables import Row, read_rows
from ecgopt.data.hdf5_files import open_dataset
from ecgopt.data.listing import Listing, existing_folders, listing
from ecgopt.data.records import NO_FINDING, Reading, RecordEntry, RecordFacts, Sex, age_of
from ecgopt.data.signals import LEADS, RawSignal, from_millivolts
from ecgopt.data.sources.code_test import MAX_SAMPLES, lead_order
from ecgopt.errors import DataError

TABLE, TRACINGS = "exams.csv", "exams.hdf5"
_FLAGS = ("normal_ecg", "death")
_TRUE, _FALSE = {"true", "1", "1.0"}, {"false", "0", "0.0"}


@dataclass(frozen=True, slots=True)
class SamiTrop:
    """Reads `exams.csv` and `exams.hdf5`, whose exams have the order of the table's rows.

    Tracings are 4096 samples at 400 Hz in millivolts; exams of 7 and 10 s are padded with zeros on
    both sides. The table names no patients. An exam whose death or normality is not stated is left
    out.

    Source: Ribeiro et al. 2021, Zenodo 4905618.
    """

    name: str = "samitrop"
    sampling_rates_hz: tuple[float, ...] = (400.0,)
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return the table and the tracings."""
        root = _root(existing_folders(folders, self.name))
        return [root / TABLE, root / TRACINGS]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return one record per exam, named by its `exam_id`."""
        root = _root(existing_folders(folders, self.name))
        rows = read_rows(root / TABLE, ("exam_id", "age", "is_male", *_FLAGS))
        with open_dataset(root / TRACINGS, "tracings", record=self.name) as tracings:
            shape = tracings.shape
        if len(shape) != 3 or shape[2] != len(LEADS) or not 0 < shape[1] <= MAX_SAMPLES:
            raise DataError(f"{root / TRACINGS}: tracings must be (exam, time, 12), but is {shape}")
        if len(rows) != shape[0]:
            raise DataError(
                f"{root}: {shape[0]} tracings and {len(rows)} rows of {TABLE} must be equally many"
            )
        entries = [_entry(row, root) for row in rows]
        return listing(entries, self.name)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one exam."""
        assert entry.facts is not None
        path, table = entry.files
        with open_dataset(path, "tracings", record=entry.record) as tracings:
            row = _places(table, table.stat().st_mtime_ns)[entry.record]
            microvolts = from_millivolts(tracings[row].T)
        signal = RawSignal(np.ascontiguousarray(microvolts), lead_order(path), 400.0)
        return Reading(entry.facts, signal)


def _root(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / TRACINGS).exists():
            return folder
    raise DataError(f"samitrop: none of the folders holds {TRACINGS}; unpack exams.zip there")


def _entry(row: Row, root: Path) -> RecordEntry:
    record = row["exam_id"].strip()
    # One file holds all exams, so the table is their only difference.
    files = (root / TRACINGS, root / TABLE)
    stated = {name: row[name].strip().lower() for name in _FLAGS}
    left_out = ""
    for name, text in stated.items():
        if text and text not in _TRUE | _FALSE:
            raise DataError(
                f"{root / TABLE}: line {row.line}: {name} must be True or False, but is "
                f"{row[name][:40]!r}"
            )
        left_out = left_out or ("" if text else f"{name} is not stated")
    found = {name: 100.0 for name, text in stated.items() if text in _TRUE}
    sex: Sex = "male" if row["is_male"].strip().lower() in _TRUE else "female"
    facts = RecordFacts(
        patient=f"samitrop-{record}",
        patient_published=False,
        age_years=age_of(row["age"]),
        sex=sex,
        statements=found or {NO_FINDING: 100.0},
    )
    return RecordEntry(record=record, files=files, facts=facts, left_out=left_out)


@lru_cache(maxsize=4)
def _places(table: Path, changed_ns: int) -> Mapping[str, int]:  # noqa: ARG001 part of the key
    """Return exam to its place in the table and among the tracings."""
    rows = read_rows(table, ("exam_id",))
    return {row["exam_id"].strip(): place for place, row in enumerate(rows)}
