"""EDF, EDF+ and BDF files (through edfio)."""

import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ecgopt.data.clinic.recording import (
    MAX_VALUES,
    MICROVOLTS,
    Person,
    Recording,
    checked_rate,
    clinic_library,
    from_integers,
    microvolts_of,
)
from ecgopt.data.records import sex_of
from ecgopt.data.signals import DERIVED_LEADS, LEADS, lead_name
from ecgopt.errors import RecordError, UserError

_RESERVED, _N_RECORDS = slice(192, 236), slice(236, 244)
_MAX_BYTES = 4 * MAX_VALUES


def read_edf(path: Path) -> Recording:
    """Return the ECG leads of a file without interruptions; other signals are left out.

    Source: Kemp et al. 1992 and 2003, edfplus.info.

    Raises:
        UserError: edfio is not installed.
        RecordError: the file is damaged or interrupted, has no lead, or leads of several rates.
    """
    edfio = clinic_library("edfio")
    record = path.stem
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
        if head[_RESERVED][:5] in {b"EDF+D", b"BDF+D"}:
            raise RecordError(record, "it is interrupted (EDF+D): export whole pieces", path.name)
        if path.stat().st_size > _MAX_BYTES:
            raise RecordError(record, f"it is larger than {_MAX_BYTES >> 20} MiB: cut it first")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if head[:1] == b"\xff":
                file = edfio.read_bdf(path, header_encoding="latin-1")
            else:
                file = edfio.read_edf(path, lazy_load_data=True, header_encoding="latin-1")
            stated = int(head[_N_RECORDS])
            if file.num_data_records < stated:
                detail = f"{file.num_data_records} of {stated} data records are there"
                raise RecordError(record, "it is truncated", detail)
            return _recording(file, record)
    except UserError:
        raise
    except Exception as error:
        detail = f"{path.name}: {type(error).__name__}: {str(error)[:160]}"
        raise RecordError(record, "edfio cannot read it", detail) from error


def _recording(file: Any, record: str) -> Recording:  # noqa: ANN401 untyped
    signals = _leads_or_all_voltages(file.signals)
    rates = {each.sampling_frequency for each in signals}
    if len(rates) != 1:
        reason = "its leads have several sampling rates" if rates else "it has none of the leads"
        names = ", ".join(each.label for each in file.signals[:20])
        raise RecordError(record, reason, f"signals: {names}")
    steps, offsets = [], []
    for signal in signals:
        per_unit = microvolts_of(signal.physical_dimension, record=record)
        low, high = signal.digital_min, signal.digital_max
        step = (signal.physical_max - signal.physical_min) / (high - low)
        steps.append(step * per_unit)
        offsets.append((signal.physical_min - low * step) * per_unit)
    values = np.stack([np.asarray(each.digital, dtype=np.int64) for each in signals])
    samples, gain, baseline = from_integers(values, steps, offsets, record=record)
    return Recording(
        leads=tuple(lead_name(each.label).replace(" ", "_") for each in signals),
        samples=samples,
        gain=gain,
        baseline=baseline,
        sampling_rate_hz=checked_rate(rates.pop(), record=record),
        person=_person(file),
        recorded=_recorded(file),
    )


def _leads_or_all_voltages(signals: Sequence[Any]) -> list[Any]:
    """Return the leads; where some have other names, all voltages of the commonest rate.

    The description of an own data set may then say which names are leads.
    """
    leads = [each for each in signals if lead_name(each.label) in LEADS]
    if {*LEADS} - {*DERIVED_LEADS} <= {lead_name(each.label) for each in leads}:
        return leads
    voltages = [each for each in signals if each.physical_dimension.strip().lower() in MICROVOLTS]
    rates = Counter(each.sampling_frequency for each in leads or voltages).most_common(1)
    return [each for each in voltages if each.sampling_frequency == rates[0][0]] if rates else []


def _person(file: Any) -> Person:  # noqa: ANN401 untyped
    try:
        patient = file.patient
        known = {"code": patient.code, "name": patient.name}
        return Person(
            patient_id="" if known["code"] == "X" else known["code"],
            name="" if known["name"] == "X" else known["name"].replace("_", " "),
            sex=sex_of(patient.sex),
            birth=patient.birthdate,
        )
    except (ValueError, AttributeError, IndexError):
        # Plain EDF has free text in place of the fields; none of it can be told apart.
        return Person()


def _recorded(file: Any) -> datetime | None:  # noqa: ANN401 untyped
    try:
        return datetime.combine(file.startdate, file.starttime)
    except (ValueError, AttributeError):
        return None  # EDF+ may hide the date.
