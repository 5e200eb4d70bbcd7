"""From a raw signal to the stored form: twelve leads, one rate, one length, whole microvolts."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int16

from ecgopt.data.records import LeftOut
from ecgopt.data.resample import rational_ratio, resample, resampled_length
from ecgopt.data.signal_quality import flat_and_saturated
from ecgopt.data.signals import LEADS, RawSignal
from ecgopt.errors import DataError

REPAIRABLE_SHARE = 0.01
"""Share of a lead's samples that may be missing and is then filled from its neighbours."""

MAX_MICROVOLTS = 32767


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """What a prepared record looks like, and what happens to records that are not like it."""

    sampling_rate_hz: int = 100
    seconds: float = 10.0
    longer: Literal["first", "centre"] = "first"
    """Which part of a longer record stays; the published study keeps the first."""
    shorter: Literal["drop", "pad"] = "drop"
    """What happens to shorter records: left out, or zeros appended."""
    broken: Literal["stop", "drop"] = "stop"
    """What a damaged record does: end the preparation with an error, or be left out and counted."""

    def __post_init__(self) -> None:
        if not 1 <= self.sampling_rate_hz <= 10_000:
            raise DataError(
                "`1 <= sampling_rate_hz <= 10000` must hold, but got "
                f"sampling_rate_hz={self.sampling_rate_hz}"
            )
        if not 0 < self.seconds <= 3600 or self.n_samples < 1:
            raise DataError(
                "`0 < seconds <= 3600` and at least one sample must hold, but got "
                f"seconds={self.seconds}"
            )

    @property
    def n_samples(self) -> int:
        """Samples per lead of a prepared record."""
        return round(self.sampling_rate_hz * self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioned:
    """A record in stored form, and what was done to it."""

    signal: Int16[np.ndarray, "lead time"]
    seconds: float
    """Duration of the record as found."""
    was_cut: bool
    zero_padded_s: float
    """Zeros in all leads at both ends of the record as found: padding by its publisher."""
    padded_samples: int
    """Zeros appended here."""
    repaired_samples: int
    clipped_samples: int
    """Samples beyond the range of 16-bit microvolts, set to its ends."""
    flat_leads: int
    """Leads that never change within the kept part."""
    saturated_leads: int
    """Leads that rest at the end of their range within the kept part."""
    signal_hash: str
    """Hash of the stored samples: equal for two copies of one recording."""


def condition(raw: RawSignal, settings: PrepareSettings) -> Conditioned | LeftOut:
    """Return `raw` in stored form, or the reason why it has none."""
    order = _lead_order(raw.leads)
    if isinstance(order, LeftOut):
        return order
    ratio = rational_ratio(settings.sampling_rate_hz, raw.sampling_rate_hz)
    if ratio is None:
        return LeftOut(f"sampling rate {raw.sampling_rate_hz:g} Hz cannot be resampled")
    microvolts = raw.microvolts if raw.leads == LEADS else raw.microvolts[order]
    length = resampled_length(microvolts.shape[1], *ratio)
    if length < settings.n_samples and settings.shorter == "drop":
        return LeftOut(f"shorter than {settings.seconds:g} s")
    filled = repair_missing(microvolts)
    if isinstance(filled, LeftOut):
        return filled
    repaired, n_repaired = filled
    kept = min(length, settings.n_samples)
    start = (length - kept) // 2 if settings.longer == "centre" else 0
    flat, saturated = flat_and_saturated(
        _source_part(repaired, *ratio, start=start, n=kept), raw.sampling_rate_hz
    )
    if flat.all():
        return LeftOut("all leads are flat")
    stored, n_clipped = _to_int16(resample(repaired, *ratio, start=start, n=kept))
    padded = settings.n_samples - kept
    if padded:
        stored = np.pad(stored, ((0, 0), (0, padded)))
    return Conditioned(
        signal=stored,
        seconds=raw.microvolts.shape[1] / raw.sampling_rate_hz,
        was_cut=length > settings.n_samples,
        zero_padded_s=_zero_padding(raw.microvolts) / raw.sampling_rate_hz,
        padded_samples=padded,
        repaired_samples=n_repaired,
        clipped_samples=n_clipped,
        flat_leads=int(flat.sum()),
        saturated_leads=int(saturated.sum()),
        signal_hash=signal_hash(stored.tobytes()),
    )


def signal_hash(samples: bytes) -> str:
    """Return the hash of a record's stored samples."""
    return hashlib.blake2b(samples, digest_size=8).hexdigest()


def _source_part(
    microvolts: Float64[np.ndarray, "lead time"], up: int, down: int, *, start: int, n: int
) -> Float64[np.ndarray, "lead part"]:
    """Return the samples that lie where the resampled ones from `start` to `start + n` do."""
    first, last = start * down // up, -(-(start + n) * down // up)
    return microvolts[:, first:last]


def _lead_order(leads: tuple[str, ...]) -> list[int] | LeftOut:
    missing = [lead for lead in LEADS if lead not in leads]
    if missing:
        return LeftOut(f"lacks {len(missing)} of 12 leads ({', '.join(missing)})")
    if any(leads.count(lead) > 1 for lead in LEADS):
        return LeftOut("names a lead twice")
    return [leads.index(lead) for lead in LEADS]


def repair_missing(
    microvolts: Float64[np.ndarray, "lead time"],
) -> tuple[Float64[np.ndarray, "lead time"], int] | LeftOut:
    """Return the signal with missing samples interpolated within their lead, and their number.

    A signal that lacks more than `REPAIRABLE_SHARE` of a lead is left out: publishers mark gaps
    so, and the file is not damaged.
    """
    # One reduction instead of a mask: NaN and infinity both survive a sum.
    if np.isfinite(microvolts.sum()):
        return microvolts, 0
    missing = ~np.isfinite(microvolts)
    if missing.mean(axis=1).max() > REPAIRABLE_SHARE:
        return LeftOut(f"more than {REPAIRABLE_SHARE:.0%} of a lead's samples are missing")
    return _interpolate(microvolts, missing), int(missing.sum())


def _interpolate(
    microvolts: Float64[np.ndarray, "lead time"], missing: Bool[np.ndarray, "lead time"]
) -> Float64[np.ndarray, "lead time"]:
    repaired = microvolts.copy()
    time = np.arange(microvolts.shape[1])
    for lead in np.flatnonzero(missing.any(axis=1)):
        gaps = missing[lead]
        repaired[lead, gaps] = np.interp(time[gaps], time[~gaps], microvolts[lead, ~gaps])
    return repaired


def _zero_padding(microvolts: Float64[np.ndarray, "lead time"]) -> int:
    """Return the number of samples at both ends that are zero in all leads."""
    if microvolts[:, 0].any() and microvolts[:, -1].any():
        return 0
    n_samples = int(microvolts.shape[1])
    occupied = np.flatnonzero(microvolts.any(axis=0))
    if not occupied.size:
        return n_samples
    return n_samples - (int(occupied[-1]) + 1 - int(occupied[0]))


def _to_int16(
    microvolts: Float64[np.ndarray, "lead time"],
) -> tuple[Int16[np.ndarray, "lead time"], int]:
    rounded = np.rint(microvolts)
    if np.abs(rounded).max() <= MAX_MICROVOLTS:
        return rounded.astype(np.int16), 0
    outside = int((np.abs(rounded) > MAX_MICROVOLTS).sum())
    return rounded.clip(-MAX_MICROVOLTS, MAX_MICROVOLTS).astype(np.int16), outside
