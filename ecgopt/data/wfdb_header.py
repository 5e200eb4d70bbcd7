"""The header of a WFDB record: a strict and bounded parser that never names a file elsewhere."""

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ecgopt.data.signals import lead_name
from ecgopt.errors import RecordError

MAX_HEADER_BYTES = 1 << 20
MAX_SIGNALS = 256
MAX_SAMPLES = 1 << 31
MAX_SAMPLES_PER_FRAME = 1000
MAX_SKEW = 100_000
MAX_SAMPLING_RATE_HZ = 100_000.0

_MICROVOLTS_PER_UNIT = {
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), 1e-3),
    **dict.fromkeys(("uv", "µv", "μv", "uvolt", "microvolt", "microvolts"), 1.0),
    **dict.fromkeys(("mv", "mvolt", "millivolt", "millivolts"), 1e3),
    **dict.fromkeys(("v", "volt", "volts"), 1e6),
}

_FORMATS = frozenset({8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524})
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(r"([-+.0-9eE]+)(?:\((-?\d+)\))?(?:/(\S+))?")
_RATE = re.compile(r"([-+.0-9eE]+)(?:/[^()\s]*)?(?:\([^()\s]*\))?")


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal of a record, as its line of the header describes it."""

    file_name: str
    format: int
    samples_per_frame: int
    skew: int
    byte_offset: int
    gain_per_unit: float
    baseline: int
    microvolts_per_unit: float | None
    """None where the unit is no voltage."""
    is_calibrated: bool
    """False where the header states gain 0, which is read as 200 units per millivolt."""
    checksum: int | None
    """Sum of all samples modulo 65,536; None where the header states none."""
    lead: str


@dataclass(frozen=True, slots=True)
class WfdbHeader:
    """A parsed header file."""

    record: str
    """The stem of the header's own file name: the name inside the file is not to be relied on."""
    sampling_rate_hz: float
    n_samples: int | None
    signals: tuple[SignalLine, ...]
    comments: tuple[str, ...]
    """The lines after `#`, stripped."""


def read_header(path: Path) -> WfdbHeader:
    """Return the parsed header file at `path`.

    Raises:
        RecordError: the file is missing, too large, or breaks the WFDB header format.
    """
    return parse_header(header_bytes(path), record=path.stem)


def header_bytes(path: Path) -> bytes:
    """Return the content of the header file at `path`.

    Raises:
        RecordError: the file is missing or too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_HEADER_BYTES + 1)
    except OSError as error:
        reason = f"its header cannot be read: {error.strerror}"
        raise RecordError(path.stem, reason, str(path)) from error
    if len(data) > MAX_HEADER_BYTES:
        raise RecordError(path.stem, f"header is larger than {MAX_HEADER_BYTES} bytes")
    return data


def parse_header(data: bytes, *, record: str) -> WfdbHeader:
    """Return the header in `data`.

    Args:
        data: The bytes of the header file; UTF-8, or Latin-1 where that fails.
        record: Name of the record, used in messages and in the result.

    Raises:
        RecordError: `data` breaks the WFDB header format, names a file outside its folder, or
            states a number that no record can have.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RecordError(record, "header is UTF-16 text: store it as UTF-8")
    lines, comments = _split_lines(data)
    if not lines:
        raise RecordError(record, "header is empty")
    n_signals, rate, n_samples = _parse_record_line(lines[0], record)
    if len(lines) - 1 < n_signals:
        reason = f"header announces {n_signals} signals but describes {len(lines) - 1}"
        raise RecordError(record, reason)
    signals = tuple(_parse_signal_line(line, record) for line in lines[1 : 1 + n_signals])
    if not any(signal.checksum for signal in signals):
        # A writer that computes no checksum puts 0 in every line.
        signals = tuple(replace(signal, checksum=None) for signal in signals)
    return WfdbHeader(record, rate, n_samples, signals, tuple(comments))


def comment_fields(header: WfdbHeader) -> dict[str, str]:
    """Return the comments of the form `key: value`, keys in lower case, the first of equal keys."""
    fields: dict[str, str] = {}
    for comment in header.comments:
        key, separator, value = comment.partition(":")
        if separator:
            fields.setdefault(key.strip().lower(), value.strip())
    return fields


def _split_lines(data: bytes) -> tuple[list[str], list[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines: list[str] = []
    comments: list[str] = []
    for line in text.replace("\r", "\n").split("\n"):
        stripped = line.strip()
        if stripped.startswith("#"):
            comments.append(stripped[1:].strip())
        elif stripped:
            lines.append(stripped)
    return lines, comments


def _parse_record_line(line: str, record: str) -> tuple[int, float, int | None]:
    # Only the first four fields are read: Georgia's headers have the date before the time.
    fields = line.split()
    name, slash, segments = fields[0].rpartition("/")
    if slash and segments.isdigit():
        raise RecordError(record, "multi-segment records are not supported: join the segments")
    if slash:
        reason = "header's first line names the record with a path; name the file alone"
        raise RecordError(record, reason, f"{name}/{segments}"[:60])
    if len(fields) < 2:
        raise RecordError(record, "header's first line lacks the number of signals", line[:60])
    if fields[1].isalpha() and any(field.isdigit() for field in fields[2:]):
        raise RecordError(record, "header's first line names the record with a blank", line[:60])
    n_signals = _count(fields[1], "number of signals", MAX_SIGNALS, record)
    if n_signals == 0:
        raise RecordError(record, "header announces no signal")
    rate = _sampling_rate(fields[2], record) if len(fields) > 2 else 250.0
    n_samples = None
    if len(fields) > 3:
        # The format writes 0 for "not stated".
        n_samples = _count(fields[3], "number of samples", MAX_SAMPLES, record) or None
    return n_signals, rate, n_samples


def _count(text: str, what: str, limit: int, record: str) -> int:
    # ASCII digits only, and few of them: `int` is slow on a very long text.
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= limit):
        raise RecordError(record, f"{what} must lie in 0..{limit}", f"is {text[:24]!r}")
    return int(text)


def _sampling_rate(text: str, record: str) -> float:
    match = _RATE.fullmatch(text)
    rate = _number(match.group(1)) if match else math.nan
    if not 0 < rate <= MAX_SAMPLING_RATE_HZ:
        limit = f"0 < sampling rate <= {MAX_SAMPLING_RATE_HZ:g} Hz"
        raise RecordError(record, f"`{limit}` must hold", f"is {text[:24]!r}")
    return rate


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _parse_signal_line(line: str, record: str) -> SignalLine:
    fields = line.split(maxsplit=8)
    if len(fields) < 2:
        raise RecordError(record, "a signal line lacks the format", line[:60])
    storage = _parse_storage(fields[1])
    if storage is None:
        raise RecordError(
            record, f"unknown format {fields[1][:24]!r}", f"signal line {line[:60]!r}"
        )
    gain, stated_baseline, unit = _gain_or_refuse(fields, record)
    adc_zero = _integer(fields[4], record) if len(fields) > 4 else 0
    return SignalLine(
        file_name=_plain_file_name(fields[0], record),
        format=storage[0],
        samples_per_frame=storage[1],
        skew=storage[2],
        byte_offset=storage[3],
        gain_per_unit=gain or 200.0,
        baseline=adc_zero if stated_baseline is None else stated_baseline,
        microvolts_per_unit=unit,
        is_calibrated=gain != 0,
        checksum=_integer(fields[6], record) & 0xFFFF if len(fields) > 6 else None,
        lead=lead_name(fields[8]) if len(fields) > 8 else "",
    )


@lru_cache(maxsize=256)
def _parse_storage(text: str) -> tuple[int, int, int, int] | None:
    """Return format, samples per frame, skew and byte offset."""
    match = _FORMAT.fullmatch(text)
    if match is None or any(len(part) > 12 for part in match.groups(default="")):
        return None
    number, per_frame, skew, offset = (int(part or 0) for part in match.groups())
    if number not in _FORMATS or per_frame > MAX_SAMPLES_PER_FRAME or skew > MAX_SKEW:
        return None
    return number, per_frame or 1, skew, offset


def _plain_file_name(name: str, record: str) -> str:
    if not _is_plain(name):
        reason = f"header names the file {name[:80]!r}; only a plain name in its own folder is read"
        raise RecordError(record, reason)
    return name


@lru_cache(maxsize=16)
def _is_plain(name: str) -> bool:
    # All signals of a record name the same file.
    return not any(mark in name for mark in "/\\\0:") and name not in {".", "..", "~"}


def _gain_or_refuse(fields: list[str], record: str) -> tuple[float, int | None, float | None]:
    """Return gain, stated baseline and microvolts per unit."""
    parsed = _parse_gain(fields[2]) if len(fields) > 2 else (200.0, None, 1000.0)
    if parsed is None:
        raise RecordError(record, "gain must be a number", f"is {fields[2][:24]!r}")
    return parsed


@lru_cache(maxsize=256)
def _parse_gain(text: str) -> tuple[float, int | None, float | None] | None:
    match = _GAIN.fullmatch(text)
    gain = _number(match.group(1)) if match else math.nan
    if match is None or not math.isfinite(gain):
        return None
    baseline, unit = match.group(2), match.group(3) or "mV"
    if baseline is not None and len(baseline) > 12:
        return None
    microvolts = _MICROVOLTS_PER_UNIT.get(unit.lower())
    return gain, None if baseline is None else int(baseline), microvolts


def _integer(text: str, record: str) -> int:
    digits = text.lstrip("+-")
    if not (digits.isascii() and digits.isdigit() and len(text) <= 12):
        raise RecordError(record, "header lacks an integer where one is needed", repr(text[:24]))
    try:
        return int(text)
    except ValueError as error:
        raise RecordError(record, "header holds a number that is no integer", text[:24]) from error
