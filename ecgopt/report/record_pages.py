"""The page of one record: its signal, and what is known of it in words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecgopt.data.conditioning import repair_missing, twelve_leads, why_leads_are_unusable
from ecgopt.data.overlap import finding_of
from ecgopt.data.prepared import PreparedSet
from ecgopt.data.records import LeftOut, Source
from ecgopt.data.signals import PrepareSettings
from ecgopt.errors import DataError
from ecgopt.report.ecg_paper import EcgPage

_MAX_STATEMENTS = 8


def prepared_page(prepared: PreparedSet, record: str) -> EcgPage:
    """Return the page of a record as networks see it.

    Raises:
        DataError: the set has no such record; the message says if and why it was left out.
    """
    rows = np.flatnonzero(prepared.records["record"] == record)
    if not rows.size:
        raise DataError(_why_absent(prepared, record))
    row = prepared.records.iloc[rows[0]]
    return EcgPage(
        microvolts=prepared.signals[rows[0]].astype(np.float64),
        sampling_rate_hz=float(prepared.sampling_rate_hz),
        title=f"{prepared.source}  {record}",
        subtitle=_in_words(
            sex=row["sex"] if isinstance(row["sex"], str) else None,
            age_years=None if np.isnan(row["age_years"]) else float(row["age_years"]),
            statements=prepared.statements(rows[:1])[0],
        ),
    )


def raw_page(source: Source, folders: Sequence[Path], record: str) -> EcgPage:
    """Return the page of a record as its file holds it.

    Raises:
        DataError: the folders have no such record, or it lacks a lead.
        RecordError: the record is damaged.
    """
    entry = next((item for item in source.entries(folders) if item.record == record), None)
    if entry is None:
        raise DataError(f"{source.name} has no record {record!r} in {', '.join(map(str, folders))}")
    reading = source.read(replace(entry, settings=PrepareSettings(seconds=10.0)))
    if isinstance(reading, LeftOut):
        raise DataError(f"record {record} cannot be drawn: {reading.reason}")
    signal, facts = reading.signal, reading.facts
    if unusable := why_leads_are_unusable(signal.leads):
        raise DataError(f"record {record} cannot be drawn: it {unusable}")
    filled = repair_missing(twelve_leads(signal.microvolts, signal.leads))
    if isinstance(filled, LeftOut):
        raise DataError(f"record {record} cannot be drawn: {filled.reason}")
    return EcgPage(
        microvolts=filled[0],
        sampling_rate_hz=signal.sampling_rate_hz,
        title=f"{source.name}  {record}",
        subtitle=_in_words(sex=facts.sex, age_years=facts.age_years, statements=facts.statements),
    )


def _in_words(*, sex: str | None, age_years: float | None, statements: Mapping[str, float]) -> str:
    person = ", ".join(
        ([sex] if sex else []) + ([f"{age_years:g} years"] if age_years is not None else [])
    )
    named = [_statement_in_words(*item) for item in statements.items()]
    more = len(named) - _MAX_STATEMENTS
    listed = ", ".join(named[:_MAX_STATEMENTS]) + (f" and {more} more" if more > 0 else "")
    return "    ".join([person or "no person known", listed or "no statement"])


def _statement_in_words(code: str, likelihood: float) -> str:
    finding = finding_of(code)
    name = code if finding == code else f"{finding} ({code})"
    return name if likelihood == 100 else f"{name} {likelihood:g} %"


def _why_absent(prepared: PreparedSet, record: str) -> str:
    for dropped in prepared.manifest["dropped"]:
        if dropped["record"] == record:
            return f"record {record} was left out of {prepared.folder.name}: {dropped['reason']}"
    examples = ", ".join(prepared.records["record"].iloc[:3])
    return f"{prepared.folder.name} has no record {record!r}; its records are {examples}, ..."
