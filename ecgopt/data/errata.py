"""Known faults of published data sets: what they are, where they are reported, what is right."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from ecgopt.data.csv_tables import TABLES, table_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Erratum:
    """One known fault; the fields after `records` say what is right, and most are None."""

    name: str
    """What a table of counts calls it."""
    source: str
    """Where the fault is reported."""
    sets: tuple[str, ...] = ()
    """Data sets of the catalogue that have it; empty: any."""
    records: str = ""
    """Full match of the names of the records that have it."""
    right_name: str | None = None
    """Name of the record whose header is published under another name."""
    merged_first_line: bool = False
    """The header's record line and first signal line are one line."""
    wrong_gain: float | None = None
    right_gain: float | None = None
    unknown_age: float | None = None
    """Age that is published where none is known."""
    withdrawn: bool = False
    """The record is no longer part of PTB-XL, so its patient and fold are unknown."""
    ptb_patient: bool = False
    """The patient follows from the order of PTB's records."""
    served_path: str | None = None
    served_sha256: str | None = None
    """SHA-256 of the file `served_path` as all servers have it, unlike the published one."""
    absent_path: str | None = None
    """Full match of the paths of files that are listed and not served."""

    def concerns(self, record: str) -> bool:
        """Return True if the record called `record` has this fault."""
        return bool(self.records) and re.fullmatch(self.records, record) is not None


@cache
def errata_of(data_set: str) -> tuple[Erratum, ...]:
    """Return the known faults of the data set called `data_set`."""
    return tuple(known for known in _errata() if not known.sets or data_set in known.sets)


@lru_cache(maxsize=64)
def errata_of_record(data_set: str, record: str) -> tuple[Erratum, ...]:
    """Return the known faults of the record called `record`."""
    return tuple(known for known in errata_of(data_set) if known.concerns(record))


def served_hashes(data_set: str) -> Mapping[str, str]:
    """Return path to SHA-256 of the files that are served unlike their published checksum."""
    return {
        known.served_path: known.served_sha256
        for known in errata_of(data_set)
        if known.served_path is not None and known.served_sha256 is not None
    }


def is_never_served(data_set: str, path: str) -> bool:
    """Return True if the publisher lists the file `path` and no server has it."""
    patterns = (known.absent_path for known in errata_of(data_set) if known.absent_path)
    return any(re.fullmatch(pattern, path) for pattern in patterns)


def right_name(data_set: str, record: str) -> str:
    """Return the name of the record whose header is called `record`."""
    for known in errata_of(data_set):
        if known.right_name is not None and known.concerns(record):
            return known.right_name
    return record


@cache
def ptb_patients() -> Mapping[str, str]:
    """Return the challenges' name of each PTB record to its patient in PTB."""
    return {row["record"]: row["patient"] for row in table_rows("ptb_patients.csv")}


@cache
def _errata() -> tuple[Erratum, ...]:
    document = tomllib.loads((TABLES / "errata.toml").read_text(encoding="utf-8"))
    return tuple(
        Erratum(**entry | {"sets": tuple(entry.get("sets", ()))}) for entry in document["erratum"]
    )
