"""From a raw signal to the stored form: twelve leads, one rate, one length, whole microvolts."""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16

from ecgopt.data.records import LeftOut
from ecgopt.data.resample import resample
from ecgopt.data.signals import (
    DERIVED_LEADS,
    LEADS,
    LIMB_FROM_I_AND_II,
    Part,
    PrepareSettings,
    RawSignal,
)

REPAIRABLE_SHARE = 0.01
"""Share of a lead's samples that may be missing and is then filled from its neighbours."""

MAX_MICROVOLTS = 32767

_IMPOSSIBLE_MICROVOLTS = 1e12
"""A sample this large, infinity included, is no measurement but missing."""

_SKETCH_LENGTH = 6
_SKETCHED_SAMPLES = 1024
"""Every fourth sample counts, up to so many per lead."""

SATURATED_S = 0.08
"""A lead that rests this long at its extreme is saturated; no wave has so flat a top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioned:
    """A record in stored form, and what was done to it."""

    signal: Int16[np.ndarray, "lead time"]
    seconds: float
    """Duration of the record as found."""
    was_cut: bool
    zero_padded_s: float
    """Zeros in all leads at both ends of the kept part: padding by its publisher."""
    padded_samples: int
    """Zeros appended here."""
    repaired_samples: int
    clipped_samples: int
    """Samples beyond the range of 16-bit microvolts, set to its ends."""
    flat_leads: int
    """Leads that never change within the kept part."""
    saturated_leads: int
    """Leads that rest at the end of their range within the kept part."""
    derived_leads: int
    """Limb leads that the file lacks, computed from I and II."""
    signal_hash: str
    """Hash of the stored samples: equal for two copies of one recording."""
    sketch: tuple[float, ...]
    """Nearly equal for two copies of one recording with other rounding, gain or offsets."""


def condition(raw: RawSignal, settings: PrepareSettings) -> Conditioned | LeftOut:
    """Return `raw` in stored form, or the reason why it has none."""
    unusable = why_leads_are_unusable(raw.leads, raw.other_signals)
    if unusable:
        return LeftOut(unusable)
    part = settings.part(raw.n_samples, raw.sampling_rate_hz)
    if part is None:
        return LeftOut(f"sampling rate {raw.sampling_rate_hz:g} Hz cannot be resampled")
    if part.length < settings.n_samples and settings.shorter == "drop":
        return LeftOut(f"shorter than {settings.seconds:g} s")
    needed = raw.microvolts[:, part.first - raw.first : part.end - raw.first]
    filled = repair_missing(needed if raw.leads == LEADS else twelve_leads(needed, raw.leads))
    if isinstance(filled, LeftOut):
        return filled
    repaired, n_repaired = filled
    kept = _source_part(repaired, part)
    flat, saturated = flat_and_saturated(kept, raw.sampling_rate_hz)
    if flat.all():
        return LeftOut("all leads are flat")
    if flat.sum() > settings.flat_leads:
        return LeftOut(f"more than {settings.flat_leads} leads are flat")
    stored, n_clipped = _to_int16(
        resample(repaired, part.up, part.down, start=part.start, n=part.n_kept)
    )
    padded = settings.n_samples - part.n_kept
    if padded:
        stored = np.pad(stored, ((0, 0), (0, padded)))
    return Conditioned(
        signal=stored,
        seconds=raw.n_samples / raw.sampling_rate_hz,
        was_cut=part.length > settings.n_samples,
        zero_padded_s=_zero_padding(kept) / raw.sampling_rate_hz,
        padded_samples=padded,
        repaired_samples=n_repaired,
        clipped_samples=n_clipped,
        flat_leads=int(flat.sum()),
        saturated_leads=int(saturated.sum()),
        derived_leads=sum(lead not in raw.leads for lead in LEADS),
        signal_hash=signal_hash(stored.tobytes()),
        sketch=sketch(stored),
    )


def signal_hash(samples: bytes) -> str:
    """Return the hash of a record's stored samples."""
    return hashlib.blake2b(samples, digest_size=8).hexdigest()


def sketch(signal: Int16[np.ndarray, "lead time"]) -> tuple[float, ...]:
    """Return projections of a recording on fixed random patterns, each of the order of 1.

    Copies that differ by rounding differ by about the relative size of the rounding; two different
    recordings differ by about 1 in each. Gain and offset of the leads have no influence.
    """
    few = signal[:, : 4 * _SKETCHED_SAMPLES : 4].astype(np.float32)
    few -= few.mean(axis=1, keepdims=True)
    flat = few.ravel()
    size = float(np.sqrt(flat @ flat))
    if size == 0:
        return (0.0,) * _SKETCH_LENGTH
    projected = _patterns(len(flat)) @ flat / size
    return tuple(round(value, 4) for value in projected.tolist())


@cache
def _patterns(length: int) -> Float32[np.ndarray, "pattern sample"]:
    """Return patterns of 1 and -1, drawn by a hash so that they are equal everywhere."""
    drawn = hashlib.shake_128(b"ecgopt sketch").digest(-(-_SKETCH_LENGTH * length // 8))
    bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8))[: _SKETCH_LENGTH * length]
    return bits.reshape(_SKETCH_LENGTH, length).astype(np.float32) * 2 - 1


def _source_part(
    microvolts: Float64[np.ndarray, "lead time"], part: Part
) -> Float64[np.ndarray, "lead kept"]:
    """Return the samples that lie where the stored ones do."""
    first, end = part.start * part.down, (part.start + part.n_kept) * part.down
    return microvolts[:, first // part.up : -(-end // part.up)]


def why_leads_are_unusable(leads: tuple[str, ...], others: tuple[str, ...] = ()) -> str:
    """Return why `leads` do not give the twelve leads, an empty text if they do."""
    missing = [lead for lead in LEADS if lead not in leads]
    if set(missing) - set(DERIVED_LEADS):
        names = ", ".join([each or "?" for each in (*others, *leads)][:16])
        return f"lacks {len(missing)} of 12 leads ({', '.join(missing)}); it has {names}"
    if any(leads.count(lead) > 1 for lead in LEADS):
        return "names a lead twice"
    return ""


def twelve_leads(
    microvolts: Float64[np.ndarray, "lead time"], leads: tuple[str, ...]
) -> Float64[np.ndarray, "12 time"]:
    """Return the leads in the order of `LEADS`; III to aVF follow from I and II if missing."""
    rows = []
    for position, lead in enumerate(LEADS):
        if lead in leads:
            rows.append(microvolts[leads.index(lead)])
        else:
            of_one, of_two = LIMB_FROM_I_AND_II[position]
            rows.append(of_one * rows[0] + of_two * rows[1])
    return np.stack(rows)


def repair_missing(
    microvolts: Float64[np.ndarray, "lead time"],
) -> tuple[Float64[np.ndarray, "lead time"], int] | LeftOut:
    """Return the signal with missing samples interpolated within their lead, and their number.

    A signal that lacks more than `REPAIRABLE_SHARE` of a lead is left out: publishers mark gaps
    so, and the file is not damaged.
    """
    # One reduction instead of a mask: NaN and infinity both survive a sum.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(microvolts.sum()):
            return microvolts, 0
        missing = ~(np.abs(microvolts) < _IMPOSSIBLE_MICROVOLTS)
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
    occupied = np.flatnonzero(microvolts.any(axis=0))
    if not occupied.size:
        return int(microvolts.shape[1])
    return int(microvolts.shape[1] - 1 - occupied[-1] + occupied[0])


def _to_int16(
    microvolts: Float64[np.ndarray, "lead time"],
) -> tuple[Int16[np.ndarray, "lead time"], int]:
    rounded = np.rint(microvolts)
    if max(rounded.max(), -rounded.min()) <= MAX_MICROVOLTS:
        return rounded.astype(np.int16), 0
    outside = int((np.abs(rounded) > MAX_MICROVOLTS).sum())
    return rounded.clip(-MAX_MICROVOLTS, MAX_MICROVOLTS).astype(np.int16), outside


def flat_and_saturated(
    microvolts: Float64[np.ndarray, "lead time"], sampling_rate_hz: float
) -> tuple[Bool[np.ndarray, " lead"], Bool[np.ndarray, " lead"]]:
    """Return which leads never change, and which rest at their own extreme for `SATURATED_S`.

    The signal must be as recorded: a filter rounds off flat tops.
    """
    high, low = microvolts.max(axis=1), microvolts.min(axis=1)
    flat = high == low
    run = max(2, round(SATURATED_S * sampling_rate_hz))
    saturated = np.zeros(len(microvolts), dtype=np.bool_)
    for extreme in (high, low):
        # A run of `run` samples covers two neighbours of a grid half as wide: a cheap first sieve.
        grid = microvolts[:, :: max(1, run // 2)] == extreme[:, None]
        suspects = (grid[:, :-1] & grid[:, 1:]).any(axis=1) & ~flat & (extreme != 0)
        for lead in np.flatnonzero(suspects):
            saturated[lead] |= _longest_run(microvolts[lead] == extreme[lead]) >= run
    return flat, saturated


def _longest_run(flags: Bool[np.ndarray, " time"]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
