"""HL7 annotated ECG (aECG), the XML of drug trials that many devices export."""

import math
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float64

from ecgopt.data.clinic.recording import (
    Person,
    Recording,
    checked_rate,
    day,
    from_integers,
    microvolts_of,
    moment,
)
from ecgopt.data.clinic.xml_files import number, text
from ecgopt.data.records import number_or_none, sex_of
from ecgopt.data.signals import lead_name
from ecgopt.errors import RecordError

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIMES = frozenset({"TIME_ABSOLUTE", "TIME_RELATIVE"})
_REPORTED_AGE = "21612-7"
"""Code of LOINC."""
_LARGEST_DIGIT = 1e12


def read_aecg(root: Element, path: Path) -> Recording:
    """Return the rhythm of a document `AnnotatedECG`.

    Of several sequence sets the one with the most leads is read; representative beats are not.

    Source: HL7 Version 3 Standard: Annotated ECG, Release 1 (ANSI/HL7 V3 ECG, R1-2004).

    Raises:
        RecordError: it holds no rhythm, or its sequences are damaged or differ in length.
    """
    record = path.stem
    rhythm = _rhythm(root, record)
    sequences = {_code(each): each for each in rhythm.findall("component/sequence")}
    times = [each for code, each in sequences.items() if code in _TIMES]
    leads = {code: each for code, each in sequences.items() if code not in _TIMES}
    values = [_digits(each, record) for each in leads.values()]
    if not times or len({len(each) for each in values}) != 1:
        raise RecordError(record, "its leads differ in length, or there is no time or lead")
    steps, offsets = [], []
    for each in leads.values():
        steps.append(_quantity(each, "value/scale", record))
        offsets.append(_quantity(each, "value/origin", record))
    samples, gain, baseline = from_integers(np.stack(values), steps, offsets, record=record)
    series = _attribute(root, "component/series/effectivetime/low", "value")
    when = series or _attribute(root, "effectivetime/low", "value")
    return Recording(
        leads=tuple(lead_name(code) for code in leads),
        samples=samples,
        gain=gain,
        baseline=baseline,
        sampling_rate_hz=checked_rate(1 / _increment(times[0], record), record=record),
        person=_person(root),
        recorded=_time(when),
    )


def _rhythm(root: Element, record: str) -> Element:
    """Return the sequence set of the rhythm with the most leads."""
    series = root.findall("component/series")
    rhythms = [each for each in series if _code(each) == "RHYTHM"] or series
    sets = [found for each in rhythms for found in each.findall("component/sequenceset")]
    if not sets:
        raise RecordError(record, "it holds no rhythm")
    return max(sets, key=lambda each: len(each.findall("component/sequence")))


def _code(element: Element) -> str:
    return _attribute(element, "code", "code")


def _attribute(element: Element, path: str, name: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get(name, "").strip()


def _digits(sequence: Element, record: str) -> Float64[np.ndarray, " time"]:
    digits = text(sequence, "value/digits").split()
    try:
        values = np.array(digits, dtype=np.float64)
    except ValueError as error:
        raise RecordError(record, "its digits must be numbers", str(error)[:80]) from error
    if not (np.abs(values) < _LARGEST_DIGIT).all():
        raise RecordError(record, "its digits must be numbers of a possible size")
    return values


def _quantity(sequence: Element, path: str, record: str) -> float:
    """Return microvolts."""
    value = number(_attribute(sequence, path, "value"), path.rpartition("/")[2], record=record)
    return value * microvolts_of(_attribute(sequence, path, "unit"), record=record)


def _increment(time: Element, record: str) -> float:
    value = number(_attribute(time, "value/increment", "value"), "increment", record=record)
    unit = _attribute(time, "value/increment", "unit")
    if unit not in _SECONDS or not (math.isfinite(value) and value > 0):
        detail = f"{value:g} {unit[:20]!r}"
        raise RecordError(record, "the increment must be a time above 0", detail)
    return value * _SECONDS[unit]


def _person(root: Element) -> Person:
    subject = root.find(
        "componentof/timepointevent/componentof/subjectassignment/subject/trialsubject"
    )
    if subject is None:
        return Person()
    inner = "subjectdemographicperson/"
    stated = ""
    for each in root.findall("controlvariable/relatedobservation"):
        if _code(each) == _REPORTED_AGE and _attribute(each, "value", "unit") == "a":
            stated = _attribute(each, "value", "value")
    return Person(
        patient_id=_attribute(subject, "id", "extension") or _attribute(subject, "id", "root"),
        name=text(subject, f"{inner}name"),
        sex=sex_of(_attribute(subject, f"{inner}administrativegendercode", "code")),
        birth=day(_attribute(subject, f"{inner}birthtime", "value")[:8], "%Y%m%d"),
        age_years=number_or_none(stated, 0.0, 130.0),
    )


def _time(text_: str) -> datetime | None:
    return moment(text_[:14], "%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d")
