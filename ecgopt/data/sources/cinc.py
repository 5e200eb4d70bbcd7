"""WFDB records in the form of the CinC Challenges 2020 and 2021: facts in `#` comments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecgopt.data.records import (
    Reading,
    RecordEntry,
    RecordFacts,
    existing_folders,
    number_or_none,
    sex_of,
    unique_entries,
)
from ecgopt.data.sources.ptbxl import ptbxl_patient_and_fold
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import WfdbHeader, comment_fields, read_header

_PTBXL_COPY = re.compile(r"HR\d{5}")
_WRONG_GAIN: Mapping[str, float] = {"HR": 200.0, "E": 4880.0}
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
        stated = read_header(header_path)
        header = with_right_gain(stated)
        signal = read_wfdb(header, header_path.parent)
        correction = "" if header is stated else "gain of the 2020 issue"
        return Reading(facts_of(header, source=self.name), signal, correction)


def _files(header: Path) -> tuple[Path, ...]:
    mat = header.with_suffix(".mat")
    return (header, mat if mat.exists() else header.with_suffix(".dat"))


def with_right_gain(header: WfdbHeader) -> WfdbHeader:
    """Return `header` with the gain of its later issue where the first one is known to be wrong.

    The first issue of 2020 states 200/mV for PTB-XL's copies and 4880/mV for Georgia over the same
    samples for which the later issues state 1000/mV; for HR00001 these samples equal the official
    500 Hz file of PTB-XL at 1000/mV.
    """
    prefix = header.record.rstrip("0123456789")
    wrong = _WRONG_GAIN.get(prefix)
    if wrong is None or any(signal.gain_per_unit != wrong for signal in header.signals):
        return header
    signals = tuple(replace(signal, gain_per_unit=1000.0) for signal in header.signals)
    return replace(header, signals=signals)


def facts_of(header: WfdbHeader, *, source: str = "cinc") -> RecordFacts:
    """Return what the comments of `header` say; unknown values become None.

    A diagnosis given as text (`Dx: RBBB`, the first issue of 2020) is kept as its own code. The
    copies of PTB-XL (`HR00001` is its `ecg_id` 1) get PTB-XL's patient and fold.
    """
    fields = comment_fields(header)
    codes = [code.strip() for code in _STATEMENT_SEPARATOR.split(fields.get("dx", ""))]
    statements = {code: 100.0 for code in codes if code and code.lower() != "unknown"}
    if "chagas label" in fields:
        positive = fields["chagas label"].lower() in {"true", "1"}
        statements["chagas" if positive else "no chagas"] = 100.0
    patient, fold = _patient_and_fold(header.record, fields, source)
    return RecordFacts(
        patient=patient or f"cinc-{header.record}",
        patient_published=patient is not None,
        fold=fold,
        age_years=number_or_none(fields.get("age", ""), 0.0, 120.0),
        sex=sex_of(fields.get("sex", "")),
        statements=statements,
    )


def _patient_and_fold(
    record: str, fields: Mapping[str, str], source: str
) -> tuple[str | None, int | None]:
    if _PTBXL_COPY.fullmatch(record):
        return ptbxl_patient_and_fold(int(record[2:]))
    stated = next((fields[key] for key in _PATIENT_KEYS if fields.get(key)), None)
    return (None if stated is None else f"{source}-{stated}"), None
