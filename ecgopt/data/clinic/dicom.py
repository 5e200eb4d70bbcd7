"""DICOM waveform objects: 12-lead, general and ambulatory ECG (through pydicom)."""

import warnings
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ecgopt.data.clinic.recording import (
    MAX_BYTES,
    MAX_VALUES,
    Person,
    Recording,
    checked_rate,
    clinic_library,
    day,
    from_integers,
    microvolts_of,
    moment,
)
from ecgopt.data.records import number_or_none, sex_of
from ecgopt.data.signals import LEADS, lead_name
from ecgopt.data.wfdb_files import MISSING_SAMPLE
from ecgopt.errors import RecordError, UserError

_DEFLATED = "1.2.840.10008.1.2.1.99"
_LEAD_NUMBERS = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"} | {
    number: f"V{number - 2}" for number in range(3, 9)
}
"""The numbers that SCP-ECG gave the leads; the codes of DICOM end in them."""
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_dicom(path: Path) -> Recording:
    """Return the multiplex group that has the most leads, of several such the longest recorded one.

    A group that is `DERIVED`, such as averaged beats, is read where no other has as many leads.

    Source: DICOM PS3.3, C.10.9 (waveform module), and PS3.16, CID 3001 (ECG leads).

    Raises:
        UserError: pydicom is not installed.
        RecordError: the file is damaged, holds no ECG, or is compressed as a whole.
    """
    pydicom = clinic_library("pydicom")
    clinic_library("pydicom.waveforms")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecordError(path.stem, f"it is larger than {MAX_BYTES >> 20} MiB", path.name)
        head = pydicom.filereader.read_file_meta_info(path)
        if str(head.get("TransferSyntaxUID", "")) == _DEFLATED:
            # A small deflated file may fill the memory.
            raise RecordError(path.stem, "deflated DICOM is not read: export it without", path.name)
        with warnings.catch_warnings():
            # A warning of pydicom quotes the file, control characters included.
            warnings.simplefilter("ignore")
            return _recording(pydicom, pydicom.dcmread(path), path.stem)
    except UserError:
        raise
    except Exception as error:
        detail = f"{path.name}: {type(error).__name__}: {str(error)[:160]}"
        raise RecordError(path.stem, "pydicom cannot read it", detail) from error


def _recording(pydicom: Any, data: Any, record: str) -> Recording:  # noqa: ANN401 untyped
    groups = list(data.get("WaveformSequence", ()))
    if not groups:
        raise RecordError(record, "it holds no waveform", str(data.get("Modality", ""))[:20])
    sizes = [_size(group) for group in groups]
    chosen = max(range(len(groups)), key=lambda place: sizes[place])
    group = groups[chosen]
    n_values = int(group.NumberOfWaveformChannels) * int(group.NumberOfWaveformSamples)
    if not 0 < n_values <= MAX_VALUES:
        raise RecordError(record, "it is too long or empty", f"{n_values} samples")
    values = pydicom.waveforms.multiplex_array(data, chosen, as_raw=True).T.astype(np.int64)
    channels = list(group.ChannelDefinitionSequence)
    steps, offsets = [], []
    for channel in channels:
        unit = channel.get("ChannelSensitivityUnitsSequence") or [{}]
        per_unit = microvolts_of(str(unit[0].get("CodeValue", "")), record=record)
        correction = float(channel.get("ChannelSensitivityCorrectionFactor") or 1.0)
        steps.append(float(channel.ChannelSensitivity) * correction * per_unit)
        offsets.append(float(channel.get("ChannelBaseline") or 0.0) * per_unit)
    samples, gain, baseline = from_integers(values, steps, offsets, record=record)
    padding = _padding(group)
    if padding is not None:
        samples[values == padding] = MISSING_SAMPLE
    return Recording(
        leads=tuple(_lead(channel) for channel in channels),
        samples=samples,
        gain=gain,
        baseline=baseline,
        sampling_rate_hz=checked_rate(float(group.SamplingFrequency), record=record),
        person=_person(data),
        recorded=_recorded(data),
        statements=_statements(data),
    )


def _padding(group: Any) -> int | None:  # noqa: ANN401 untyped
    """Return the stored value that stands for a missing sample, None if there is none."""
    stored = group.get("WaveformPaddingValue")
    if stored is None:
        return None
    if not isinstance(stored, bytes):
        return int(stored)
    is_signed = str(group.get("WaveformSampleInterpretation", "SS")).startswith("S")
    width = int(group.WaveformBitsAllocated) // 8
    return int.from_bytes(stored[:width], "little", signed=is_signed)


def _size(group: Any) -> tuple[int, bool, int]:  # noqa: ANN401 untyped
    """Return the number of leads, whether they are as recorded, and their length."""
    leads = {_lead(channel) for channel in group.get("ChannelDefinitionSequence", ())}
    is_original = str(group.get("WaveformOriginality", "")) != "DERIVED"
    return len(leads & set(LEADS)), is_original, int(group.get("NumberOfWaveformSamples", 0))


def _lead(channel: Any) -> str:  # noqa: ANN401 untyped
    source = (channel.get("ChannelSourceSequence") or [{}])[0]
    code = str(source.get("CodeValue", ""))
    tail = code.replace(":", "-").rpartition("-")[2]
    if str(source.get("CodingSchemeDesignator", "")) in {"SCPECG", "MDC"} and tail.isdecimal():
        found = _LEAD_NUMBERS.get(int(tail))
        if found is not None:
            return found
    named = str(source.get("CodeMeaning", "")) or str(channel.get("ChannelLabel", ""))
    # "Lead I (Einthoven)" is the standard's own text for I.
    return lead_name(named.partition("(")[0]).replace(" ", "_") or "?"


def _person(data: Any) -> Person:  # noqa: ANN401 untyped
    stated = str(data.get("PatientAge", "") or "")
    age = number_or_none(stated[:-1], 0.0, 999.0) if stated[-1:] in _YEARS else None
    return Person(
        patient_id=str(data.get("PatientID", "") or ""),
        name=str(data.get("PatientName", "") or ""),
        sex=sex_of(str(data.get("PatientSex", "") or "")),
        birth=_day(data.get("PatientBirthDate")),
        age_years=None if age is None else age * _YEARS[stated[-1]],
    )


def _day(value: object) -> date | None:
    return day(str(value or "")[:8], "%Y%m%d")


def _recorded(data: Any) -> datetime | None:  # noqa: ANN401 untyped
    when = str(data.get("AcquisitionDateTime", "") or "")
    found = moment(when[:14], "%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d")
    return found or moment(str(data.get("StudyDate", "") or "")[:8], "%Y%m%d")


def _statements(data: Any) -> tuple[str, ...]:  # noqa: ANN401 untyped
    found = [
        str(each.get("UnformattedTextValue", "") or "")
        for each in data.get("WaveformAnnotationSequence", ())
    ]
    return tuple(" ".join(each.split()) for each in found if each.strip())
