"""SPH: 25,770 records of 24,666 patients of Shandong Provincial Hospital, with AHA statements."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgopt.data.csv_tables import Row, read_rows
from ecgopt.data.hdf5_files import open_dataset
from ecgopt.data.listing import Listing, find_files, listing
from ecgopt.data.records import Reading, RecordEntry, RecordFacts, age_of, sex_of
from ecgopt.data.signals import LEADS, RawSignal, from_millivolts
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

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the records of all tables, ordered by name."""
        columns = ("ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex")
        found = find_files(folders, self.name, ".h5")
        entries = [
            _entry(folder, row) for folder in folders for row in read_rows(folder / TABLE, columns)
        ]
        named = {entry.record for entry in entries}
        aside = {
            "file without a row": [path.name for path in found.files if path.stem not in named],
            "hidden file": found.hidden,
        }
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        assert entry.facts is not None
        with open_dataset(entry.files[0], "ecg", record=entry.record) as dataset:
            shape = dataset.shape
            if len(shape) != 2 or shape[0] != len(LEADS) or not 0 < shape[1] <= _MAX_SAMPLES:
                raise RecordError(entry.record, f"ecg must be (12, time), but is {shape}")
            microvolts = from_millivolts(dataset[()])
        return Reading(entry.facts, RawSignal(microvolts, LEADS, 500.0))


def _entry(folder: Path, row: Row) -> RecordEntry:
    name = row["ECG_ID"]
    if not _RECORD.fullmatch(name):
        raise DataError(
            f"{folder / TABLE}: line {row.line}: ECG_ID must be like A00001, but is {name[:40]!r}"
        )
    facts = RecordFacts(
        patient=f"sph-{row['Patient_ID']}",
        age_years=age_of(row["Age"]),
        sex=sex_of(row["Sex"]),
        statements=dict.fromkeys(_codes(row, folder / TABLE), 100.0),
    )
    flat, nested = folder / f"{name}.h5", folder / "records" / f"{name}.h5"
    return RecordEntry(record=name, files=(flat if flat.exists() else nested,), facts=facts)


def _codes(row: Row, table: Path) -> list[str]:
    codes: list[str] = []
    for part in filter(None, row["AHA_Code"].split(";")):
        match = _STATEMENT.fullmatch(part.strip())
        if match is None:
            raise DataError(
                f"{table}: line {row.line}: {part[:40]!r} is no AHA statement such as 50+346"
            )
        codes += dict.fromkeys([f"aha:{match.group(1)}", f"aha:{match.group(0)}"])
    return codes
