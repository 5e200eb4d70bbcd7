"""Philips (Sierra) XML, with the compression XLI of its waveforms."""

from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Int64

from ecgopt.data.clinic.recording import (
    MAX_VALUES,
    Person,
    Recording,
    checked_rate,
    day,
    from_integers,
    moment,
)
from ecgopt.data.clinic.xml_files import base64_bytes, number, text, texts
from ecgopt.data.records import number_or_none, sex_of
from ecgopt.data.signals import DERIVED_LEADS, LEADS, lead_name
from ecgopt.errors import RecordError

_CODE_BITS = 10
_LAST_CODE = (1 << _CODE_BITS) - 2
_CHUNK_HEADER_BYTES = 8
_VERSIONS = ("1.03", "1.04", "1.04.01", "1.04.02")


def read_sierra(root: Element, path: Path) -> Recording:
    """Return the waveforms of a document `restingecgdata`.

    The format stores III, aVR, aVL and aVF as differences of a few steps to what follows from I
    and II. These four are left out, and `ecgopt data prepare` computes them.

    Source: Sierra ECG Schema 1.03 and 1.04 (Philips), and the description of XLI by C. Watford,
    github.com/sixlettervariables/sierra-ecg-tools.

    Raises:
        RecordError: its version is unknown, or its waveforms are damaged.
    """
    record = path.stem
    version = text(root, "documentinfo/documentversion")
    if version not in _VERSIONS:
        detail = f"{version[:20]!r} is none of {', '.join(_VERSIONS)}"
        raise RecordError(record, "its version of Sierra XML is not known", detail)
    details = root.find("dataacquisition/signalcharacteristics")
    waveforms = root.find("waveforms/parsedwaveforms")
    if details is None or waveforms is None:
        raise RecordError(record, "it holds no parsedwaveforms or no signalcharacteristics")
    rate = checked_rate(
        number(text(details, "samplingrate"), "samplingrate", record=record), record=record
    )
    labels = (waveforms.get("leadlabels") or " ".join(LEADS)).split()
    if waveforms.get("leadlabels") and (given := waveforms.get("numberofleads", "")).isdecimal():
        labels = labels[: int(given)]
    length = number(waveforms.get("durationperchannel", ""), "durationperchannel", record=record)
    n_samples = round(length * rate / 1000) if 0 < length < 1e9 else 0
    if not 0 < n_samples * len(labels) <= MAX_VALUES:
        raise RecordError(record, "its duration is not possible", f"{length:g} ms")
    values = _values(waveforms, len(labels), n_samples, record)
    leads = [lead_name(label) for label in labels]
    kept = [row for row, lead in enumerate(leads) if lead not in DERIVED_LEADS]
    resolution = text(details, "resolution") or text(details, "signalresolution")
    resolution = resolution or waveforms.get("resolution", "")
    step = number(resolution, "resolution", record=record)
    samples, gain, baseline = from_integers(
        values[kept], [step] * len(kept), [0.0] * len(kept), record=record
    )
    return Recording(
        leads=tuple(leads[row] for row in kept),
        samples=samples,
        gain=gain,
        baseline=baseline,
        sampling_rate_hz=rate,
        person=_person(root),
        recorded=_recorded(root),
        statements=tuple(texts(root, "interpretations/interpretation/statement/leftstatement")),
    )


def _values(
    waveforms: Element, n_leads: int, n_samples: int, record: str
) -> Int64[np.ndarray, "lead time"]:
    encoding = waveforms.get("dataencoding", "")
    method = waveforms.get("compressmethod") or waveforms.get("compression") or ""
    if not method and waveforms.get("compressflag", "").lower() == "true":
        method = "XLI"
    if encoding != "Base64" or method not in {"", "Uncompressed", "XLI"}:
        detail = f"{encoding[:20]!r} and {method[:20]!r}"
        raise RecordError(record, "its encoding or compression is not known", detail)
    data = base64_bytes(waveforms.text or "", record=record)
    if method == "XLI":
        return np.stack(_unpacked(data, n_leads, n_samples, record))
    if len(data) < 2 * n_leads * n_samples:
        raise RecordError(record, "its waveforms are truncated")
    plain = np.frombuffer(data, dtype="<i2", count=n_leads * n_samples)
    return plain.reshape(n_leads, n_samples).astype(np.int64)


def _unpacked(
    data: bytes, n_leads: int, n_samples: int, record: str
) -> list[Int64[np.ndarray, " time"]]:
    """Return the leads of a sequence of chunks, one for each lead."""
    leads: list[Int64[np.ndarray, " time"]] = []
    position = 0
    while len(leads) < n_leads:
        header = data[position : position + _CHUNK_HEADER_BYTES]
        size = int.from_bytes(header[:4], "little")
        position += _CHUNK_HEADER_BYTES
        chunk = data[position : position + size]
        if len(header) < _CHUNK_HEADER_BYTES or len(chunk) < size:
            raise RecordError(record, "its waveforms are truncated")
        position += size
        start = int.from_bytes(header[6:8], "little", signed=True)
        pairs = unpack_codes(chunk, 2 * n_samples)
        if len(pairs) < 2 * n_samples:
            raise RecordError(record, "a lead is shorter than its stated duration")
        # All high bytes come first, then all low bytes.
        halves = np.frombuffer(pairs, dtype=np.uint8).reshape(2, n_samples).astype(np.uint16)
        stored = ((halves[0] << 8) | halves[1]).astype(np.int16).tolist()
        leads.append(np.array(_integrated(stored, start), dtype=np.int64))
    return leads


def unpack_codes(chunk: bytes, n_bytes: int) -> bytes:
    """Return at most `n_bytes` bytes of an LZW stream of 10-bit codes, highest bit first."""
    bits = np.unpackbits(np.frombuffer(chunk, dtype=np.uint8))
    usable = len(bits) // _CODE_BITS * _CODE_BITS
    weights = 1 << np.arange(_CODE_BITS - 1, -1, -1)
    codes = bits[:usable].reshape(-1, _CODE_BITS).astype(np.int64) @ weights
    known = [bytes([value]) for value in range(256)]
    out = bytearray()
    previous = b""
    for code in codes.tolist():
        if code > _LAST_CODE or code > len(known) or len(out) >= n_bytes:
            break
        if code == len(known) and not previous:
            break
        entry = known[code] if code < len(known) else previous + previous[:1]
        if previous and len(known) <= _LAST_CODE:
            known.append(previous + entry[:1])
        previous = entry
        out += entry
    return bytes(out[:n_bytes])


def _integrated(stored: list[int], start: int) -> list[int]:
    """Return samples from their second differences, each of which predicts the next but one."""
    values = stored[:2]
    correction = start
    for difference in stored[2:]:
        predicted = 2 * values[-1] - values[-2] - correction
        values.append((predicted + 32768) % 65536 - 32768)
        correction = difference - 64
    return values


def _person(root: Element) -> Person:
    given = "patient/generalpatientdata/"
    names = (text(root, f"{given}name/firstname"), text(root, f"{given}name/lastname"))
    return Person(
        patient_id=text(root, f"{given}patientid"),
        name=" ".join(name for name in names if name),
        sex=sex_of(text(root, f"{given}sex")),
        birth=day(text(root, f"{given}age/dateofbirth"), "%Y-%m-%d"),
        age_years=number_or_none(text(root, f"{given}age/years"), 0.0, 130.0),
    )


def _recorded(root: Element) -> datetime | None:
    found = root.find("dataacquisition")
    if found is None:
        return None
    return moment(f"{found.get('date', '')} {found.get('time', '')}", "%Y-%m-%d %H:%M:%S")
