"""CPSC2018 as its organisers issued it: MATLAB files and REFERENCE.csv."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ecgopt.data.csv_tables import read_rows
from ecgopt.data.listing import Listing, existing_folders, find_files, listing
from ecgopt.data.matlab_files import read_structure
from ecgopt.data.records import Reading, RecordEntry, RecordFacts, age_of, sex_of
from ecgopt.data.signals import LEADS, RawSignal, from_millivolts
from ecgopt.errors import DataError, RecordError

TABLES = ("REFERENCE.csv", "cpsc2018_REFERENCE.csv")
_RECORD = re.compile(r"A\d{4}")
_LABELS = ("First_label", "Second_label", "Third_label")
_STATEMENTS = ("Normal", "AF", "I-AVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")


@dataclass(frozen=True, slots=True)
class CpscNative:
    """Reads CPSC2018 from its `.mat` structures (sex, age, data in millivolts, 500 Hz).

    Without a `.mat` file in the folders a record of REFERENCE.csv does not count as missing: the
    organisers issued the set in three archives, and each may be used alone.

    Source: Liu et al. 2018, doi:10.1166/jmihi.2018.2442.
    """

    name: str = "cpsc2018_native"
    sampling_rates_hz: tuple[float, ...] = (500.0,)
    version: int = 2

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return the REFERENCE.csv of the folders."""
        return [_reference(existing_folders(folders, self.name))]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the records that have a `.mat` file, ordered by name."""
        found = find_files(folders, self.name, ".mat")
        statements = _statements(_reference(folders))
        recordings = [path for path in found.files if _RECORD.fullmatch(path.stem)]
        entries = [_entry(path, statements.get(path.stem)) for path in recordings]
        names = {path.stem for path in recordings}
        aside = {
            "row without a recording": [name for name in statements if name not in names],
            "file of another name": [p.name for p in found.files if p.stem not in names],
            "hidden file": found.hidden,
        }
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        assert entry.facts is not None
        fields = read_structure(entry.files[0], "ECG")
        microvolts = _microvolts(entry, fields.get("data"))
        facts = replace(
            entry.facts,
            age_years=age_of(str(np.squeeze(fields.get("age", "")))),
            sex=sex_of(str(fields.get("sex", ""))),
        )
        return Reading(facts, RawSignal(microvolts, LEADS, 500.0))


def _microvolts(entry: RecordEntry, data: object) -> Float64[np.ndarray, "lead time"]:
    is_ = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else "no numbers"
    if not (isinstance(data, np.ndarray) and data.ndim == 2 and len(data) == len(LEADS)):
        raise RecordError(entry.record, "ECG.data must have 12 rows of numbers", f"is {is_}")
    if data.dtype.kind != "f":
        reason = "ECG.data must be millivolts with decimals: the unit of whole numbers is unknown"
        raise RecordError(entry.record, reason, f"is {is_}")
    return from_millivolts(data)


def _reference(folders: Sequence[Path]) -> Path:
    for folder in folders:
        for path in (folder / name for name in TABLES):
            if path.exists():
                return path
    raise DataError(f"cpsc2018_native: none of the folders holds {TABLES[0]}")


def _entry(path: Path, statements: Mapping[str, float] | None) -> RecordEntry:
    facts = RecordFacts(
        # As in the challenges' copy, so that both are known for the same recording.
        patient=f"cinc-{path.stem}",
        patient_published=False,
        statements=statements or {},
    )
    why = "it has no row in REFERENCE.csv" if statements is None else "its row has no label"
    left_out = "" if statements else why
    return RecordEntry(record=path.stem, files=(path,), facts=facts, left_out=left_out)


def _statements(table: Path) -> Mapping[str, Mapping[str, float]]:
    statements: dict[str, dict[str, float]] = {}
    for row in read_rows(table, ("Recording", *_LABELS)):
        numbers = [row[column] for column in _LABELS if row[column]]
        if not all(number in "123456789" and len(number) == 1 for number in numbers):
            raise DataError(
                f"{table}: line {row.line}: {row['Recording'][:20]!r}: labels must be 1 to 9"
            )
        record = row["Recording"].strip().removesuffix(".mat")
        if record in statements:
            raise DataError(f"{table}: line {row.line}: {record[:20]!r} has a row already")
        names = [_STATEMENTS[int(number) - 1] for number in numbers]
        statements[record] = dict.fromkeys(names, 100.0)
    return statements
