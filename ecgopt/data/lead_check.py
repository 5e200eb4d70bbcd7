"""What the stored signals themselves say: mixed-up leads, swapped electrodes, units and rates."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64, Int16, Shaped

from ecgopt.data.signals import LEADS, LIMB_FROM_I_AND_II

MOST_MISFIT = 0.2
"""Share of a sound record's limb leads that Goldberger's relations may leave unexplained; the
largest of 2,158 public records is 0.11."""

AMPLITUDES_MICROVOLTS = (100.0, 10_000.0)
"""Usual range of a record's amplitude, the median of its leads' spans: 370 to 5,400 in those."""

HEART_RATES_BPM = (45.0, 110.0)
"""Usual range of the median heart rate of a data set; outside it, the sampling rate is wrong."""

_BLOCK = 256
_SLOWEST_S, _FASTEST_S = 2.0, 0.3
_INVERTED, _UPRIGHT = -0.3, 0.0


@dataclass(frozen=True, slots=True)
class LeadFacts:
    """Measures of each record of a set."""

    misfit: Float64[np.ndarray, " record"]
    """How far III, aVR, aVL and aVF are from what I and II make of them: 0 to about 1 and more."""
    remedy: Shaped[np.ndarray, " record"]
    """Which exchange or inversion of limb leads makes them fit, where they do not; else empty."""
    swapped_arms: Bool[np.ndarray, " record"]
    """Lead I runs against V6 and aVR with it, as if the electrodes of the arms were exchanged, or,
    rarely, the heart lay on the right."""
    amplitude: Float64[np.ndarray, " record"]
    """Median span of the leads in microvolts."""
    heart_rate_bpm: Float64[np.ndarray, " record"]
    """NaN where the signal repeats at no interval."""


def lead_facts(
    signals: Int16[np.ndarray, "record lead time"], sampling_rate_hz: float
) -> LeadFacts:
    """Return the measures of all records; memory holds one block of them at a time.

    Args:
        signals: Microvolts, leads in the order of `LEADS`.
        sampling_rate_hz: Their sampling rate.
    """
    parts = [
        _block_facts(
            np.asarray(signals[start : start + _BLOCK], dtype=np.float64), sampling_rate_hz
        )
        for start in range(0, len(signals), _BLOCK)
    ]
    return LeadFacts(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _block_facts(
    block: Float64[np.ndarray, "record lead time"], sampling_rate_hz: float
) -> tuple[np.ndarray, ...]:
    block -= np.median(block, axis=2, keepdims=True)
    misfit = _misfits(block[:, :6])
    remedy = np.array([""] * len(block), dtype=object)
    for row in np.flatnonzero(misfit > MOST_MISFIT):
        remedy[row] = _remedy(block[row, :6])
    steps = np.diff(block, axis=2)
    one, right_arm, v6 = (steps[:, LEADS.index(lead)] for lead in ("I", "aVR", "V6"))
    swapped = (_correlation(one, v6) < _INVERTED) & (_correlation(right_arm, v6) > _UPRIGHT)
    high, low = np.percentile(block, (99.9, 0.1), axis=2)
    return (
        misfit,
        remedy,
        swapped,
        np.median(high - low, axis=1),
        _heart_rates(steps, sampling_rate_hz),
    )


def _misfits(limb: Float64[np.ndarray, "record six time"]) -> Float64[np.ndarray, " record"]:
    expected = np.einsum("ij,rjt->rit", LIMB_FROM_I_AND_II[2:], limb[:, :2])
    error = np.square(limb[:, 2:] - expected).sum(axis=(1, 2))
    # A microvolt of rounding counts, so that flat records have no misfit.
    size = np.square(expected).sum(axis=(1, 2)) + limb.shape[1] * limb.shape[2]
    return np.asarray(error / size)


def _remedy(limb: Float64[np.ndarray, "six time"]) -> str:
    """Return the one exchange or inversion after which the limb leads fit, else an empty text."""
    changes: dict[str, np.ndarray] = {}
    for first, second in combinations(range(6), 2):
        order = list(range(6))
        order[first], order[second] = second, first
        changes[f"{LEADS[first]} and {LEADS[second]} exchanged"] = limb[order]
    for row in range(6):
        sign = np.ones((6, 1))
        sign[row] = -1
        changes[f"{LEADS[row]} inverted"] = limb * sign
    misfits = _misfits(np.stack(list(changes.values())))
    best = int(misfits.argmin())
    return list(changes)[best] if misfits[best] < MOST_MISFIT / 2 else ""


def _correlation(
    first: Float64[np.ndarray, "record time"], second: Float64[np.ndarray, "record time"]
) -> Float64[np.ndarray, " record"]:
    size = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
    return np.asarray((first * second).sum(axis=1) / np.maximum(size, 1.0))


def _heart_rates(
    steps: Float64[np.ndarray, "record lead time"], sampling_rate_hz: float
) -> Float64[np.ndarray, " record"]:
    """Return the rate at which the activity of all leads repeats, by its autocorrelation."""
    activity = np.abs(steps).sum(axis=1)
    width = max(1, round(0.1 * sampling_rate_hz))
    smooth = np.cumsum(activity, axis=1)
    smooth = smooth[:, width:] - smooth[:, :-width]
    smooth -= smooth.mean(axis=1, keepdims=True)
    n = smooth.shape[1]
    power = np.square(np.abs(np.fft.rfft(smooth, 2 * n, axis=1)))
    repeats = np.fft.irfft(power, axis=1)[:, :n] / np.arange(n, 0, -1)
    shortest, longest = round(_FASTEST_S * sampling_rate_hz), round(_SLOWEST_S * sampling_rate_hz)
    window = repeats[:, shortest : min(longest, n // 2)]
    if not window.shape[1]:
        return np.full(len(steps), np.nan)
    strength = window.max(axis=1) / np.maximum(repeats[:, 0], 1e-12)
    rate = 60.0 * sampling_rate_hz / (shortest + window.argmax(axis=1))
    return np.asarray(np.where(strength > 0.3, rate, np.nan))
