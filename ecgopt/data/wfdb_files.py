"""The signal files of WFDB records, read by NumPy where the format allows, else by wfdb.

Format 16 (`.dat`) and 16+24 (MATLAB v4 `.mat`) are the same interleaved 16-bit samples; decoding
them directly is 16 to 69 times as fast as wfdb and gives the same numbers.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int16

from ecgopt.data.signals import LEADS, RawSignal
from ecgopt.data.wfdb_header import SignalLine, WfdbHeader
from ecgopt.errors import RecordError

_MOST_SAMPLES_PER_BYTE = 64
"""More than any format packs, FLAC included, unless the signal is flat."""

MISSING_SAMPLE = -32768
"""The 16-bit value by which WFDB marks a missing sample."""


def read_wfdb(header: WfdbHeader, folder: Path) -> RawSignal:
    """Return the signal of the record that `header` describes.

    If the record has any of the twelve leads, its other signals are neither judged nor returned,
    and files that hold only others need not be there.

    Args:
        header: The parsed header.
        folder: Where the header lies; no file outside it is opened.

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
    if all(_is_plain_16_bit(signal) for signal in concerned):
        microvolts = _decode(header, folder, concerned, needed)
    else:
        microvolts = _read_through_wfdb(header, folder, needed)
    return RawSignal(microvolts, tuple(signal.lead for signal in needed), header.sampling_rate_hz)


def _is_plain_16_bit(signal: SignalLine) -> bool:
    return signal.format == 16 and signal.samples_per_frame == 1 and signal.skew == 0


def _decode(
    header: WfdbHeader,
    folder: Path,
    concerned: Sequence[SignalLine],
    needed: Sequence[SignalLine],
) -> Float64[np.ndarray, "lead time"]:
    parts: list[np.ndarray] = []
    leads = {signal.lead for signal in needed}
    for name, signals in groupby(concerned, key=lambda signal: signal.file_name):
        group = list(signals)
        adc = _read_samples(folder / name, group, header)
        kept = [row for row, signal in enumerate(group) if signal.lead in leads]
        if len(kept) < len(group):
            adc, group = adc[kept], [group[row] for row in kept]
        _verify_checksums(adc, group, header.record)
        parts.append(_to_microvolts(adc, group))
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1] for part in parts}) > 1:
        raise RecordError(header.record, "its signal files differ in length")
    return np.concatenate(parts)


def _read_samples(
    path: Path, group: Sequence[SignalLine], header: WfdbHeader
) -> Int16[np.ndarray, "lead time"]:
    n_leads, offset = len(group), group[0].byte_offset
    if any(signal.byte_offset != offset for signal in group):
        raise RecordError(header.record, "the signals of a file differ in byte offset", path.name)
    try:
        available = max(0, (path.stat().st_size - offset) // (2 * n_leads))
        n_samples = available if header.n_samples is None else header.n_samples
        # The length is compared before anything is allocated: a header may announce anything.
        if n_samples == 0 or available < n_samples:
            detail = (
                f"{path.name}: {n_samples or 'some'} samples of {n_leads} leads expected, "
                f"{available} found"
            )
            raise RecordError(header.record, "its signal file is truncated", detail)
        adc = np.fromfile(path, dtype="<i2", count=n_samples * n_leads, offset=offset)
    except OSError as error:
        reason = f"its signal file cannot be read: {error.strerror or error}"
        raise RecordError(header.record, reason, str(path)) from error
    if adc.size != n_samples * n_leads:
        raise RecordError(header.record, "its signal file became shorter meanwhile", path.name)
    # Lead by lead: everything that follows runs along time, several times as fast in this order.
    return np.ascontiguousarray(adc.reshape(n_samples, n_leads).T)


def _verify_checksums(
    samples: Sequence[np.ndarray] | Int16[np.ndarray, "lead time"],
    group: Sequence[SignalLine],
    record: str,
) -> None:
    """Raise if the samples of a signal do not have the sum that the header states."""
    for signal, adc in zip(group, samples, strict=True):
        total = int(adc.sum(dtype=np.int64)) & 0xFFFF
        if signal.checksum is not None and signal.checksum != total:
            detail = (
                f"lead {signal.lead or '?'} has {total}, the header says {signal.checksum}: fetch "
                f"{signal.file_name} again"
            )
            raise RecordError(record, "the checksum of a lead is wrong", detail)


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


def _refuse_impossible_length(
    header: WfdbHeader, folder: Path, needed: Sequence[SignalLine]
) -> None:
    """Raise if the files cannot hold the samples: wfdb would allocate them before it finds out."""
    try:
        files = {signal.file_name for signal in needed}
        n_bytes = sum((folder / name).stat().st_size for name in files)
    except OSError as error:
        reason = f"its signal file cannot be read: {error.strerror}"
        raise RecordError(header.record, reason, str(error.filename)) from error
    announced = (header.n_samples or 0) * sum(s.samples_per_frame for s in needed)
    if announced > n_bytes * _MOST_SAMPLES_PER_BYTE:
        detail = f"{announced} samples cannot be in {n_bytes} bytes"
        raise RecordError(header.record, "its signal file is truncated", detail)


def _read_through_wfdb(
    header: WfdbHeader, folder: Path, needed: Sequence[SignalLine]
) -> Float64[np.ndarray, "lead time"]:
    """Return the signal as wfdb reads it: formats other than 16, several samples per frame, skew.

    The file names were checked when the header was parsed, so wfdb opens none elsewhere.
    """
    import wfdb

    _refuse_impossible_length(header, folder, needed)
    path = str(folder / header.record)
    leads = {signal.lead for signal in needed}
    rows = [row for row, signal in enumerate(header.signals) if signal.lead in leads]
    try:
        stored = wfdb.rdrecord(
            path, channels=rows, physical=False, smooth_frames=False, ignore_skew=True
        )
        record = wfdb.rdrecord(path, channels=rows, smooth_frames=True, physical=True)
    except Exception as error:
        detail = f"{type(error).__name__}: {str(error)[:200]}"
        raise RecordError(header.record, "wfdb cannot read it", detail) from error
    _verify_checksums(stored.e_d_signal, needed, header.record)
    microvolts = np.ascontiguousarray(record.p_signal.T, dtype=np.float64)
    microvolts *= np.array([[signal.microvolts_per_unit or 1.0] for signal in needed])
    return microvolts
