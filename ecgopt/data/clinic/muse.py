"""XML exports of GE MUSE."""

from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Int64

from ecgopt.data.clinic.recording import (
    Person,
    Recording,
    checked_rate,
    day,
    from_integers,
    microvolts_of,
    moment,
)
from ecgopt.data.clinic.xml_files import base64_bytes, number, text, texts
from ecgopt.data.records import sex_of
from ecgopt.data.signals import lead_name
from ecgopt.errors import RecordError

_UNITS = {"microvolts": "uv", "millivolts": "mv", "volts": "v", "nanovolts": "nv"}
_YEARS_PER_UNIT = {"": 1.0, "YEARS": 1.0, "MONTHS": 1 / 12, "WEEKS": 7 / 365.25, "DAYS": 1 / 365.25}


def read_muse(root: Element, path: Path) -> Recording:
    """Return the rhythm of a document `RestingECG`.

    A document has the leads I, II and V1 to V6 and often no others; `ecgopt data prepare` computes
    III, aVR, aVL and aVF from I and II. The averaged beat (`Median`) is not read.

    Raises:
        RecordError: it holds no rhythm, or its leads are damaged or differ in length.
    """
    record = path.stem
    waveform = _rhythm(root, record)
    rate = number(text(waveform, "samplebase"), "SampleBase", record=record)
    exponent = number(text(waveform, "sampleexponent") or "0", "SampleExponent", record=record)
    if not -6 <= exponent <= 6:
        raise RecordError(record, "SampleExponent must lie in -6..6", f"is {exponent:g}")
    leads, values, steps = [], [], []
    for lead in waveform.findall("leaddata"):
        leads.append(lead_name(text(lead, "leadid")))
        values.append(_samples(lead, record))
        unit = text(lead, "leadamplitudeunits").lower() or "microvolts"
        per_bit = text(lead, "leadamplitudeunitsperbit")
        step = number(per_bit, "LeadAmplitudeUnitsPerBit", record=record)
        steps.append(step * microvolts_of(_UNITS.get(unit, unit), record=record))
    if len({len(each) for each in values}) != 1:
        raise RecordError(record, "its leads differ in length, or there is none")
    samples, gain, baseline = from_integers(
        np.stack(values), steps, [0.0] * len(steps), record=record
    )
    return Recording(
        leads=tuple(leads),
        samples=samples,
        gain=gain,
        baseline=baseline,
        sampling_rate_hz=checked_rate(rate * 10**exponent, record=record),
        person=_person(root),
        recorded=_recorded(root),
        statements=tuple(texts(root, "diagnosis/diagnosisstatement/stmttext")),
    )


def _rhythm(root: Element, record: str) -> Element:
    found = root.findall("waveform")
    for waveform in found:
        if text(waveform, "waveformtype").lower() == "rhythm":
            return waveform
    if len(found) == 1 and not text(found[0], "waveformtype"):
        return found[0]
    raise RecordError(record, "it holds no waveform of the type Rhythm")


def _samples(lead: Element, record: str) -> Int64[np.ndarray, " time"]:
    size = text(lead, "leadsamplesize") or "2"
    if size != "2":
        raise RecordError(record, "a sample must have 2 bytes", f"LeadSampleSize is {size[:20]!r}")
    data = base64_bytes(text(lead, "waveformdata"), record=record)
    announced = text(lead, "leadsamplecounttotal")
    if len(data) % 2 or (announced and announced != str(len(data) // 2)):
        detail = f"{len(data)} bytes for {announced[:20] or 'some'} samples"
        raise RecordError(record, "the samples of a lead are truncated", detail)
    return np.frombuffer(data, dtype="<i2").astype(np.int64)


def _person(root: Element) -> Person:
    given = "patientdemographics/"
    unit = text(root, f"{given}ageunits").upper()
    try:
        age = float(text(root, f"{given}patientage")) * _YEARS_PER_UNIT[unit]
    except (ValueError, KeyError):
        age = None
    names = (text(root, f"{given}patientfirstname"), text(root, f"{given}patientlastname"))
    return Person(
        patient_id=text(root, f"{given}patientid"),
        name=" ".join(name for name in names if name),
        sex=sex_of(text(root, f"{given}gender")),
        birth=day(text(root, f"{given}dateofbirth"), "%m-%d-%Y"),
        age_years=age,
    )


def _recorded(root: Element) -> datetime | None:
    when = f"{text(root, 'testdemographics/acquisitiondate')} "
    when += text(root, "testdemographics/acquisitiontime") or "00:00:00"
    return moment(when, "%m-%d-%Y %H:%M:%S", "%m-%d-%Y %H:%M")
