"""SPH: 25,770 records of 24,666 patients of Shandong Provincial Hospital, with AHA statements."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgopt.data.csv_tables import read_rows
from ecgopt.data.hdf5_files import open_dataset
from ecgopt.data.records import (
    Reading,
    RecordEntry,
    RecordFacts,
    existing_folders,
    number_or_none,
    sex_of,
    unique_entries,
)
from ecgopt.data.signals import LEADS, RawSignal
from ecgopt.errors import DataError, RecordError

TABLE = "metadata.csv"
_RECORD = re.compile(r"A\d{5}")
_STATEMENT = re.compile(r"(\d{1,3})(?:\+\d{1,3})*")
_MAX_SAMPLES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sph:
    """Reads SPH in its official layout: `metadata.csv` and `records/A00001.h5`.

    A statement gives two codes, with and without its modifiers: `aha:50+346` and `aha:50`.

    Source: Liu et al. 2022, doi:10.1038/s41597-022-01403-5; figshare collection 5779802.
    """

    name: str = "sph"
    sampling_rates_hz: tuple[float, ...] = (500.0,)
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return the `metadata.csv` of every folder."""
        return [folder / TABLE for folder in folders]

    def entries(self, folders: Sequence[Path]) -> Sequence[RecordEntry]:
        """Return the records of all tables, ordered by name."""
        columns = ("ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex")
        entries = [
            _entry(folder, row)
            for folder in existing_folders(folders, self.name)
            for row in read_rows(folder / TABLE, columns)
        ]
        return unique_entries(sorted(entries, key=lambda entry: entry.record), self.name)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        assert entry.facts is not None
        with open_dataset(entry.files[0], "ecg", record=entry.record) as dataset:
            shape = dataset.shape
            if len(shape) != 2 or shape[0] != len(LEADS) or shape[1] > _MAX_SAMPLES:
                raise RecordError(entry.record, f"ecg must be (12, time), but is {shape}")
            microvolts = np.asarray(dataset[()], dtype=np.float64) * 1000.0
        return Reading(entry.facts, RawSignal(microvolts, LEADS, 500.0))


def _entry(folder: Path, row: Mapping[str, str]) -> RecordEntry:
    name = row["ECG_ID"]
    if not _RECORD.fullmatch(name):
        raise DataError(f"{folder / TABLE}: ECG_ID must be like A00001, but is {name[:40]!r}")
    facts = RecordFacts(
        patient=f"sph-{row['Patient_ID']}",
        age_years=number_or_none(row["Age"], 0.0, 120.0),
        sex=sex_of(row["Sex"]),
        statements=dict.fromkeys(_codes(row["AHA_Code"], folder / TABLE, name), 100.0),
    )
    flat, nested = folder / f"{name}.h5", folder / "records" / f"{name}.h5"
    return RecordEntry(record=name, files=(flat if flat.exists() else nested,), facts=facts)


def _codes(text: str, table: Path, name: str) -> list[str]:
    codes: list[str] = []
    for part in filter(None, text.split(";")):
        match = _STATEMENT.fullmatch(part.strip())
        if match is None:
            raise DataError(f"{table}: {name}: {part[:40]!r} is no AHA statement such as 50+346")
        codes += dict.fromkeys([f"aha:{match.group(1)}", f"aha:{match.group(0)}"])
    return codes
