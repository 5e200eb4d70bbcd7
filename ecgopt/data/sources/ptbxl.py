"""PTB-XL: 21,799 records with patients, official folds and SCP-ECG statements."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ecgopt.data.csv_tables import Row, read_rows, table_rows
from ecgopt.data.listing import Listing, find_files, listing
from ecgopt.data.records import Reading, RecordEntry, RecordFacts, Sex, age_of, number_or_none
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError

TABLE = "ptbxl_database.csv"
_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold")
_FILE_COLUMNS = ("filename_lr", "filename_hr")
_SEX: Mapping[str, Sex] = {"0": "male", "1": "female"}
_FILE_NAME = re.compile(r"(?:[A-Za-z0-9_-]+/){0,4}[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class PtbXl:
    """Reads PTB-XL in the official layout; several folders may each hold a part of it.

    Source: Wagner et al. 2020, doi:10.1038/s41597-020-0495-6; PhysioNet ptb-xl 1.0.3.
    """

    name: str = "ptbxl"
    file_column: str = "filename_lr"
    """`filename_lr`: the official 100 Hz files; `filename_hr`: the 500 Hz files."""
    sampling_rates_hz: tuple[float, ...] = (100.0,)
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return the `ptbxl_database.csv` of every folder."""
        return [folder / TABLE for folder in folders]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the records of all tables, ordered by `ecg_id`."""
        found = find_files(folders, self.name, ".hea")
        entries: list[RecordEntry] = []
        named: set[Path] = set()
        for folder in folders:
            for row in read_rows(folder / TABLE, (*_COLUMNS, self.file_column)):
                entries.append(self._entry(folder, row))
                files = (row.get(column) for column in _FILE_COLUMNS)
                named |= {folder / f"{file}.hea" for file in files if file}
        aside = {
            "header without a row": [path.stem for path in found.files if path not in named],
            "hidden file": found.hidden,
        }
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        header_path = entry.files[0]
        header = read_header(header_path)
        assert entry.facts is not None
        return Reading(entry.facts, read_wfdb(header, header_path.parent, entry.settings))

    def _entry(self, folder: Path, row: Row) -> RecordEntry:
        ecg_id = _whole_number(row, "ecg_id")
        name = row[self.file_column]
        if not _FILE_NAME.fullmatch(name):
            raise DataError(
                f"{folder / TABLE}: line {row.line}: {self.file_column} must be a relative path "
                f"of plain names, but is {name[:80]!r}"
            )
        facts = RecordFacts(
            patient=f"ptbxl-{_whole_number(row, 'patient_id')}",
            fold=_whole_number(row, "strat_fold", most=1000),
            age_years=age_of(row["age"]),
            sex=_SEX.get(row["sex"]),
            statements=_statements(row),
        )
        files = (folder / f"{name}.hea", folder / f"{name}.dat")
        return RecordEntry(record=f"{ecg_id:05d}", files=files, facts=facts)


def ptbxl_patient_and_fold(ecg_id: int) -> tuple[str | None, int | None]:
    """Return patient and official fold of a record of PTB-XL 1.0.3, None for withdrawn records."""
    return _patients_and_folds().get(ecg_id, (None, None))


@cache
def _patients_and_folds() -> Mapping[int, tuple[str, int]]:
    return {
        int(row["ecg_id"]): (f"ptbxl-{row['patient_id']}", int(row["strat_fold"]))
        for row in table_rows("ptbxl_patients.csv")
    }


def _whole_number(row: Row, column: str, *, most: float = 1e9) -> int:
    number = number_or_none(row[column], 0.0, most)
    if number is None or not number.is_integer():
        raise DataError(
            f"{TABLE}: line {row.line}: {column} must be a whole number up to {most:g}, but is "
            f"{row[column][:40]!r}"
        )
    return int(number)


def _statements(row: Row) -> dict[str, float]:
    """Return the statements of a row; the column holds a dict in Python's notation."""
    text = row["scp_codes"]
    try:
        statements = json.loads(text.replace("'", '"'))
        return {str(code): float(likelihood) for code, likelihood in statements.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{TABLE}: line {row.line}: scp_codes must map codes to likelihoods, but is "
            f"{text[:60]!r}"
        ) from error
