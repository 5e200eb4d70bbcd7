"""Anti-aliased resampling that equals `scipy.signal.resample_poly`, at several times its speed.

Beyond its ends the signal continues along the line through its first and last sample (`padtype`
"line"). Zeros would put a step there: an electrode offset of -4.5 mV moved the first stored sample
by 2 mV.
"""

from fractions import Fraction
from functools import cache
from math import gcd

import numpy as np
from jaxtyping import Float64

_BLOCK = 20
"""Outputs per block of the banded product; larger ones waste more on the zeros of the band."""

MAX_FACTOR = 10_000


def rational_ratio(to_hz: int, from_hz: float) -> tuple[int, int] | None:
    """Return `(up, down)` with `to_hz / from_hz = up / down`, None where no small ratio exists."""
    if float(from_hz).is_integer():
        divisor = gcd(to_hz, int(from_hz))
        up, down = to_hz // divisor, int(from_hz) // divisor
    else:
        nearest = Fraction(from_hz).limit_denominator(1000)
        if nearest == 0:
            return None
        ratio = Fraction(to_hz) / nearest
        up, down = ratio.numerator, ratio.denominator
    return (up, down) if max(up, down) <= MAX_FACTOR else None


def resampled_length(n: int, up: int, down: int) -> int:
    """Return the number of samples that `n` samples become."""
    return -(-n * up // down)


def resample(
    signal: Float64[np.ndarray, "lead time"], up: int, down: int, *, start: int, n: int
) -> Float64[np.ndarray, "lead kept"]:
    """Return samples `start` to `start + n` of `signal` resampled by `up / down`.

    The filter is that of `scipy.signal.resample_poly` (linear phase, Kaiser window, beta 5). Only
    what the wanted samples need is computed.

    Args:
        signal: One row per lead.
        up: Factor by which the rate rises, in lowest terms with `down`.
        down: Factor by which the rate falls.
        start: First wanted sample, at the new rate.
        n: Number of wanted samples; `start + n` must not exceed `resampled_length`.
    """
    if up == down == 1:
        return signal[:, start : start + n]
    taps = anti_alias_taps(up, down)
    half = filter_half(up, down)
    if up == 1:
        return _strided_filter(np.ascontiguousarray(signal), down, start=start, n=n)
    from scipy.signal import upfirdn

    # The first input sample is chosen so that it falls on an output sample of the full signal.
    first_period = start // up - (half // (up * down) + 1)
    first = first_period * down
    n_inputs = ((start + n) * down + half) // up + 1 - first
    window = _padded(signal, first, n_inputs)
    # Leading zeros let the filter's centre meet an output sample, as resample_poly does.
    lead_in = -half % down
    filtered = upfirdn(np.concatenate([np.zeros(lead_in), taps]), window, up, down, axis=-1)
    offset = (half + lead_in) // down + start - first_period * up
    return np.ascontiguousarray(filtered[:, offset : offset + n])


def filter_half(up: int, down: int) -> int:
    """Return how many samples, at `up` times the old rate, the filter reaches to each side."""
    return 0 if up == down else 10 * max(up, down)


@cache
def anti_alias_taps(up: int, down: int) -> Float64[np.ndarray, " tap"]:
    """Return the low-pass filter of `scipy.signal.resample_poly` for `up / down`.

    Source: windowed sinc with cut-off 1 / max(up, down), Kaiser beta 5, unit gain at zero times
        `up` (`scipy.signal.firwin`; written out because importing scipy.signal takes a second).
    """
    largest, half = max(up, down), filter_half(up, down)
    position = np.arange(-half, half + 1, dtype=np.float64)
    taps = np.sinc(position / largest) * np.kaiser(2 * half + 1, 5.0)
    taps *= up / taps.sum()
    taps.flags.writeable = False
    return taps


def _padded(
    signal: Float64[np.ndarray, "lead time"], first: int, n: int
) -> Float64[np.ndarray, "lead window"]:
    """Return `n` samples from index `first`, on the line where the signal does not reach."""
    last = signal.shape[1] - 1
    slope = (signal[:, -1] - signal[:, 0])[:, None] / max(last, 1)
    low, high = min(max(first, 0), first + n), max(min(first + n, last + 1), first)
    window = np.empty((len(signal), n))
    window[:, low - first : high - first] = signal[:, low:high]
    if first < low:
        window[:, : low - first] = signal[:, :1] + slope * np.arange(first, low)
    if high < first + n:
        beyond = np.arange(high - last, first + n - last)
        window[:, high - first :] = signal[:, -1:] + slope * beyond
    return window


def _strided_filter(
    signal: Float64[np.ndarray, "lead time"], down: int, *, start: int, n: int
) -> Float64[np.ndarray, "lead kept"]:
    """Return outputs `start` to `start + n` of the filter at every `down`-th sample.

    A block of outputs is one matrix product with the banded matrix of the filter. Blocks within
    the signal are read in place; only those at its ends are copied and padded.
    """
    banded = _banded(down)
    width, hop = len(banded), _BLOCK * down
    first = start * down - filter_half(1, down)
    n_leads, n_time = signal.shape
    n_blocks = -(-n // _BLOCK)
    inner = min(n_blocks, max(0, -(first // hop)))
    outer = max(inner, min(n_blocks, (n_time - width - first) // hop + 1))
    blocks = np.empty((n_blocks, n_leads, _BLOCK))
    if inner < outer:
        lead_step, time_step = signal.strides
        windows = np.lib.stride_tricks.as_strided(
            signal[:, first + inner * hop :],
            (outer - inner, n_leads, width),
            (hop * time_step, lead_step, time_step),
            writeable=False,
        )
        np.matmul(windows, banded, out=blocks[inner:outer])
    for block in (*range(inner), *range(outer, n_blocks)):
        blocks[block] = _padded(signal, first + block * hop, width) @ banded
    return blocks.transpose(1, 0, 2).reshape(n_leads, n_blocks * _BLOCK)[:, :n]


@cache
def _banded(down: int) -> Float64[np.ndarray, "window block"]:
    taps = anti_alias_taps(1, down)
    banded = np.zeros((down * (_BLOCK - 1) + len(taps), _BLOCK))
    for column in range(_BLOCK):
        banded[column * down : column * down + len(taps), column] = taps
    return banded
