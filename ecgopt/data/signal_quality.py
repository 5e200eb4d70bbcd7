"""Leads that carry no heartbeat: flat ones, and ones at the end of their amplifier's range."""

import numpy as np
from jaxtyping import Bool, Float64

SATURATED_S = 0.08
"""A lead that rests this long at its extreme is saturated; no wave has so flat a top."""


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
