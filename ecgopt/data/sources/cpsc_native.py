"""CPSC2018 as its organisers issued it: MATLAB files and REFERENCE.csv."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgopt.data.csv_tables import read_rows
from ecgopt.data.listing import Listing, existing_folders, find_files, listing
from ecgopt.data.records import Reading, RecordEntry, RecordFacts, number_or_none, sex_of
from ecgopt.data.signals import LEADS, RawSignal
from ecgopt.errors import DataError, RecordError

TABLES = ("REFERENCE.csv", "cpsc2018_REFERENCE.csv")
_RECORD = re.compile(r"A\d{4}")
_LABELS = ("First_label", "Second_label", "Third_label")
_STATEMENTS = ("Normal", "AF", "I-AVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")
_MAX_BYTES = 64 << 20
_MI_COMPRESSED = 15


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
        fields = load_struct(entry.files[0], "ECG", ("sex", "age", "data"))
        millivolts = np.asarray(fields["data"])
        if millivolts.ndim != 2 or len(millivolts) != len(LEADS) or millivolts.dtype.kind != "f":
            reason = f"ECG.data must be 12 rows of numbers, but is {millivolts.shape}"
            raise RecordError(entry.record, reason)
        facts = replace(
            entry.facts,
            age_years=number_or_none(str(np.squeeze(fields["age"])), 0.0, 120.0),
            sex=sex_of(str(np.squeeze(fields["sex"]))),
        )
        return Reading(facts, RawSignal(millivolts.astype(np.float64) * 1000.0, LEADS, 500.0))


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


def load_struct(path: Path, variable: str, fields: Sequence[str]) -> Mapping[str, Any]:
    """Return the `fields` of the 1 x 1 structure `variable` in a MATLAB v5 file.

    Raises:
        RecordError: the file is missing, damaged, inflates to more than 64 MiB, or lacks a field.
    """
    from scipy.io import loadmat

    try:
        _refuse_bomb(path)
        struct = loadmat(path, variable_names=[variable])[variable]
        return {name: struct[name][0, 0] for name in fields}
    except OSError as error:
        reason = f"its file cannot be read: {error.strerror or error}"
        raise RecordError(path.stem, reason, str(path)) from error
    except RecordError:
        raise
    except Exception as error:
        reason = f"it is no MATLAB file with {variable}.{'/'.join(fields)}"
        raise RecordError(path.stem, reason, f"{path.name}: {error!r:.120}") from error


def _refuse_bomb(path: Path) -> None:
    """Raise if the compressed elements of a MATLAB v5 file inflate beyond the limit."""
    if path.stat().st_size > _MAX_BYTES:
        raise RecordError(path.stem, f"it is larger than {_MAX_BYTES >> 20} MiB", path.name)
    data = path.read_bytes()
    position = 128
    while position + 8 <= len(data):
        kind, size = np.frombuffer(data, "<u4", count=2, offset=position).tolist()
        if kind == _MI_COMPRESSED:
            inflater = zlib.decompressobj()
            inflater.decompress(data[position + 8 : position + 8 + size], _MAX_BYTES)
            if inflater.unconsumed_tail:
                raise RecordError(
                    path.stem, f"it inflates beyond {_MAX_BYTES >> 20} MiB", path.name
                )
        position += 8 + size
