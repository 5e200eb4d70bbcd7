"""WFDB records in the form of the CinC Challenges 2020 and 2021: facts in `#` comments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgopt.data.records import (
    Reading,
    RecordEntry,
    RecordFacts,
    Sex,
    existing_folders,
    number_or_none,
    unique_entries,
)
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import WfdbHeader, read_header

_SEX: Mapping[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}
_PATIENT_KEYS = ("patient", "patient id")
_STATEMENT_SEPARATOR = re.compile(r"[,;]")


@dataclass(frozen=True, slots=True)
class Cinc:
    """Reads folders of `.hea` files, at any depth, with `#Age`, `#Sex` and `#Dx` comments.

    Source: Perez Alday et al. 2020, doi:10.1088/1361-6579/abc960; Reyna et al. 2021,
        doi:10.23919/CinC53138.2021.9662687.
    """

    name: str = "cinc"
    record_pattern: str = r".*"
    """Full match of the record names that belong to the data set."""
    sampling_rates_hz: tuple[float, ...] = ()
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:  # noqa: ARG002 as in `Source`
        """Return nothing: all facts stand in the headers."""
        return []

    def entries(self, folders: Sequence[Path]) -> Sequence[RecordEntry]:
        """Return a record for every header whose name fits, ordered by name."""
        wanted = re.compile(self.record_pattern)
        entries = [
            RecordEntry(record=header.stem, files=_files(header))
            for folder in existing_folders(folders, self.name)
            for header in folder.rglob("*.hea")
            if wanted.fullmatch(header.stem)
        ]
        return unique_entries(sorted(entries, key=lambda entry: entry.record), self.name)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        header_path = entry.files[0]
        header = read_header(header_path)
        return Reading(facts_of(header), read_wfdb(header, header_path.parent))


def _files(header: Path) -> tuple[Path, ...]:
    mat = header.with_suffix(".mat")
    return (header, mat if mat.exists() else header.with_suffix(".dat"))


def facts_of(header: WfdbHeader) -> RecordFacts:
    """Return what the comments of `header` say; unknown values become None.

    A diagnosis given as text (`Dx: RBBB`, the first issue of 2020) is kept as its own code.
    """
    fields: dict[str, str] = {}
    for comment in header.comments:
        key, separator, value = comment.partition(":")
        if separator:
            fields.setdefault(key.strip().lower(), value.strip())
    codes = [code.strip() for code in _STATEMENT_SEPARATOR.split(fields.get("dx", ""))]
    statements = {code: 100.0 for code in codes if code and code.lower() != "unknown"}
    patients = [fields[key] for key in _PATIENT_KEYS if fields.get(key)]
    return RecordFacts(
        patient=patients[0] if patients else None,
        age_years=number_or_none(fields.get("age", ""), 0.0, 120.0),
        sex=_SEX.get(fields.get("sex", "").lower()),
        statements=statements,
    )
