"""The signal files of WFDB records, read by NumPy where the format allows, else by wfdb.

Formats 16 (`.dat`), 16+24 (MATLAB v4 `.mat`) and 61 hold interleaved 16-bit samples; decoding
them directly is 16 to 69 times as fast as wfdb and gives the same numbers. Files are read in
blocks: every sample counts for the checksums, and only those that are stored stay in memory.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int16

from ecgopt.data.signals import LEADS, PrepareSettings, RawSignal
from ecgopt.data.wfdb_header import SignalLine, WfdbHeader
from ecgopt.errors import RecordError

MISSING_SAMPLE = -32768
"""The 16-bit value by which WFDB marks a missing sample."""

_MOST_SAMPLES_PER_BYTE = 64
"""More than any format packs, FLAC included, unless the signal is flat."""

_BLOCK_SAMPLES = 1 << 21
"""Samples of all signals together that are in memory at a time: far more than ten seconds."""


def read_wfdb(
    header: WfdbHeader, folder: Path, settings: PrepareSettings | None = None
) -> RawSignal:
    """Return the signal of the record that `header` describes.

    If the record has any of the twelve leads, its other signals are neither judged nor returned,
    and files that hold only others need not be there.

    Args:
        header: The parsed header.
        folder: Where the header lies; no file outside it is opened.
        settings: Leave out samples that are not needed for them; None: return all samples.

    Raises:
        RecordError: a signal file is missing or too short, a checksum is wrong, or a unit is no
            voltage.
    """
    needed = [signal for signal in header.signals if signal.lead in LEADS] or header.signals
    for signal in needed:
        if signal.microvolts_per_unit is None:
            raise RecordError(header.record, "the unit of a lead is no voltage", signal.lead)
    names = {signal.file_name for signal in needed}
    concerned = [signal for signal in header.signals if signal.file_name in names]
    plain = all(_is_plain_16_bit(signal) for signal in concerned)
    read = _decode if plain else _read_through_wfdb
    microvolts, first, n_samples = read(header, folder, concerned, settings)
    leads = tuple(signal.lead for signal in needed)
    return RawSignal(
        microvolts,
        leads,
        header.sampling_rate_hz,
        first,
        n_samples,
        other_signals=()
        if len(needed) == len(header.signals)
        else tuple(each.lead for each in header.signals if each.lead not in LEADS),
        is_calibrated=all(signal.is_calibrated for signal in needed),
    )


_PLAIN: Mapping[int, str] = {16: "<i2", 61: ">i2"}
"""Formats of 16 bits, to their NumPy types."""


def signal_path(folder: Path, name: str) -> Path:
    """Return the path of a signal file, in capitals or small letters if it is there only so."""
    path = folder / name
    try:
        if not path.exists():
            others = (path.with_suffix(path.suffix.swapcase()), folder / name.upper())
            return next((other for other in others if other.exists()), path)
    except OSError:
        pass  # The name is too long for a file; who opens it says so.
    return path


def _is_plain_16_bit(signal: SignalLine) -> bool:
    return signal.format in _PLAIN and signal.samples_per_frame == 1 and signal.skew == 0


def _window(header: WfdbHeader, n_samples: int, settings: PrepareSettings | None) -> range:
    """Return the samples to keep."""
    if settings is None:
        return range(n_samples)
    part = settings.part(n_samples, header.sampling_rate_hz)
    # A record whose rate cannot be resampled is left out, so its samples do not matter.
    return range(min(n_samples, 1)) if part is None else range(part.first, part.end)


def _decode(
    header: WfdbHeader,
    folder: Path,
    concerned: Sequence[SignalLine],
    settings: PrepareSettings | None,
) -> tuple[Float64[np.ndarray, "lead time"], int, int]:
    """Return microvolts of the needed leads, their first sample, and the record's length."""
    parts: list[np.ndarray] = []
    lengths: set[tuple[int, int]] = set()
    for name, signals in groupby(concerned, key=lambda signal: signal.file_name):
        group, path = list(signals), signal_path(folder, name)
        adc, sums, first, n_samples = _read_samples(path, group, header, settings)
        kept = _needed_rows(group)
        if len(kept) < len(group):
            adc, sums, group = adc[kept], sums[kept], [group[row] for row in kept]
        _verify_checksums(sums, group, header.record, path)
        parts.append(_to_microvolts(adc, group))
        lengths.add((first, n_samples))
    if len(lengths) > 1:
        raise RecordError(header.record, "its signal files differ in length")
    return parts[0] if len(parts) == 1 else np.concatenate(parts), *lengths.pop()


def _needed_rows(signals: Sequence[SignalLine]) -> list[int]:
    return [row for row, signal in enumerate(signals) if signal.lead in LEADS] or [
        *range(len(signals))
    ]


def _read_samples(
    path: Path,
    group: Sequence[SignalLine],
    header: WfdbHeader,
    settings: PrepareSettings | None,
) -> tuple[Int16[np.ndarray, "lead time"], Int[np.ndarray, " lead"], int, int]:
    """Return the samples to keep, the sums of all, the first to keep, and how many there are."""
    n_leads, offset, kind = len(group), group[0].byte_offset, _PLAIN[group[0].format]
    if any((each.byte_offset, each.format) != (offset, group[0].format) for each in group):
        reason = "the signals of a file differ in byte offset or byte order"
        raise RecordError(header.record, reason, path.name)
    try:
        available = max(0, (path.stat().st_size - offset) // (2 * n_leads))
        n_samples = available if header.n_samples is None else header.n_samples
        # The length is compared before anything is allocated: a header may announce anything.
        if n_samples == 0 or available < n_samples:
            detail = (
                f"{path.name}: {n_samples or 'some'} samples of {n_leads} leads expected, "
                f"{available} found"
            )
            reason = _of_another_kind(path) or "its signal file is truncated"
            raise RecordError(header.record, reason, detail)
        window = _window(header, n_samples, settings)
        sums, kept = np.zeros(n_leads, dtype=np.int64), []
        step = _BLOCK_SAMPLES // n_leads
        for start in range(0, n_samples, step):
            n_block = min(step, n_samples - start)
            position = offset + 2 * n_leads * start
            adc = np.fromfile(path, kind, n_block * n_leads, offset=position)
            if adc.size != n_block * n_leads:
                reason = "its signal file became shorter meanwhile"
                raise RecordError(header.record, reason, path.name)
            # Lead by lead: what follows runs along time, several times as fast in this order.
            block = np.ascontiguousarray(adc.reshape(n_block, n_leads).T, dtype=np.int16)
            # 16 bits wrap around as the checksum does, and need no conversion.
            sums += block.sum(axis=1, dtype=np.int16)
            if start < window.stop and window.start < start + n_block:
                kept.append(block[:, max(0, window.start - start) : window.stop - start])
    except OSError as error:
        reason = f"its signal file cannot be read: {error.strerror or error}"
        raise RecordError(header.record, reason, str(path)) from error
    return (
        kept[0] if len(kept) == 1 else np.concatenate(kept, axis=1),
        sums,
        window.start,
        n_samples,
    )


def _verify_checksums(
    sums: Int[np.ndarray, " lead"], signals: Sequence[SignalLine], record: str, path: Path
) -> None:
    """Raise if the samples of a signal do not have the sum that the header states."""
    for signal, total in zip(signals, (sums & 0xFFFF).tolist(), strict=True):
        if signal.checksum is not None and signal.checksum != total:
            detail = (
                f"lead {signal.lead or '?'} has {total}, the header says {signal.checksum}: fetch "
                f"{signal.file_name} again"
            )
            reason = _of_another_kind(path) or "the checksum of a lead is wrong"
            raise RecordError(record, reason, detail)


def _of_another_kind(path: Path) -> str:
    """Return what a signal file is if its first bytes are those of another format, else nothing."""
    with path.open("rb") as stream:
        head = stream.read(8)
    for mark, name in ((b"MATLAB 5", "MATLAB v5"), (b"\x89HDF", "HDF5"), (b"PK\x03\x04", "zip")):
        if head.startswith(mark):
            return f"its signal file is of the format {name}, not what the header says"
    return ""


def _to_microvolts(
    adc: Int16[np.ndarray, "lead time"], group: Sequence[SignalLine]
) -> Float64[np.ndarray, "lead time"]:
    baseline = np.array([signal.baseline for signal in group], dtype=np.float64)
    gain = np.array([signal.gain_per_unit for signal in group])
    unit = np.array([signal.microvolts_per_unit for signal in group], dtype=np.float64)
    signal = adc.astype(np.float64)
    if baseline.any():
        signal -= baseline[:, None]
    if (gain != unit).any():
        signal /= gain[:, None]
        signal *= unit[:, None]
    if int(adc.min()) == MISSING_SAMPLE:
        signal[adc == MISSING_SAMPLE] = np.nan
    return signal


def _length_through_wfdb(header: WfdbHeader, folder: Path, signals: Sequence[SignalLine]) -> int:
    """Return the number of samples, the announced one if the files can hold it."""
    sizes: dict[str, int] = {}
    try:
        for signal in signals:
            sizes[signal.file_name] = (folder / signal.file_name).stat().st_size
    except OSError as error:
        reason = f"its signal file cannot be read: {error.strerror}"
        raise RecordError(header.record, reason, str(error.filename)) from error
    n_bytes = sum(sizes.values())
    if header.n_samples is None:
        reason = "its header must state the number of samples, which its format does not tell"
        raise RecordError(header.record, reason)
    announced = header.n_samples * sum(signal.samples_per_frame for signal in signals)
    if announced > n_bytes * _MOST_SAMPLES_PER_BYTE:
        detail = f"{announced} samples cannot be in {n_bytes} bytes"
        raise RecordError(header.record, "its signal file is truncated", detail)
    if announced > _BLOCK_SAMPLES and any(signal.format == 8 for signal in signals):
        reason = "format 8 can only be read from its start: store long records in format 16"
        raise RecordError(header.record, reason)
    return header.n_samples


def _read_through_wfdb(
    header: WfdbHeader,
    folder: Path,
    concerned: Sequence[SignalLine],
    settings: PrepareSettings | None,
) -> tuple[Float64[np.ndarray, "lead time"], int, int]:
    """Do as `_decode` for formats other than 16, several samples per frame, and skew.

    The file names were checked when the header was parsed, so wfdb opens none elsewhere.
    """
    n_samples = _length_through_wfdb(header, folder, concerned)
    rows = _needed_rows(header.signals)
    needed = [header.signals[row] for row in rows]
    step = max(1, _BLOCK_SAMPLES // sum(signal.samples_per_frame for signal in header.signals))
    window = _window(header, n_samples, settings)
    sums = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, n_samples, step):
        stored = _rdrecord(
            header,
            folder,
            channels=rows,
            sampfrom=start,
            sampto=min(start + step, n_samples),
            physical=False,
            smooth_frames=False,
            ignore_skew=True,
        )
        sums += [int(signal.sum(dtype=np.int64)) for signal in stored.e_d_signal]
    _verify_checksums(sums, needed, header.record, folder / needed[0].file_name)
    record = _rdrecord(header, folder, channels=rows, sampfrom=window.start, sampto=window.stop)
    microvolts = np.ascontiguousarray(record.p_signal.T, dtype=np.float64)
    microvolts *= np.array([[signal.microvolts_per_unit or 1.0] for signal in needed])
    return microvolts, window.start, n_samples


def _rdrecord(header: WfdbHeader, folder: Path, **options: Any) -> Any:  # noqa: ANN401 wfdb is untyped
    import wfdb

    try:
        return wfdb.rdrecord(str(folder / header.record), **options)
    except Exception as error:
        detail = f"{type(error).__name__}: {str(error)[:200]}"
        raise RecordError(header.record, "wfdb cannot read it", detail) from error
