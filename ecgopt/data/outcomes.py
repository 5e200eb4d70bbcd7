"""What becomes of each record during preparation, computed in this process or in several."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

from ecgopt.data.conditioning import Conditioned, condition
from ecgopt.data.records import LeftOut, RecordEntry, RecordFacts, Source
from ecgopt.data.signals import PrepareSettings
from ecgopt.errors import RecordError

_CHUNK = 32
"""Records per task: large enough to hide the cost of passing them between processes."""


UNCALIBRATED = "gain 0 in the header, read as 200 units per millivolt"
"""Counted with the publishers' known errors."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that goes into the prepared set."""

    record: str
    facts: RecordFacts
    sampling_rate_hz: float
    """As found in the file."""
    conditioned: Conditioned
    corrections: tuple[str, ...]
    """As `Reading.corrections`."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that does not, and why."""

    record: str
    reason: str
    broken: bool
    """True where the file is damaged, False where it is sound but does not fit the settings."""
    detail: str = ""
    """File and numbers that `reason` leaves out, so that equal reasons count as one."""


Outcome = Kept | Dropped


def outcome(source: Source, entry: RecordEntry, settings: PrepareSettings) -> Outcome:
    """Return what becomes of one record."""
    if entry.left_out:
        return Dropped(entry.record, entry.left_out, broken=False)
    try:
        reading = source.read(replace(entry, settings=settings))
    except RecordError as error:
        return Dropped(entry.record, error.reason, broken=True, detail=error.detail)
    if isinstance(reading, LeftOut):
        return Dropped(entry.record, reading.reason, broken=False)
    rate = reading.signal.sampling_rate_hz
    if source.sampling_rates_hz and rate not in source.sampling_rates_hz:
        known = ", ".join(f"{known:g}" for known in source.sampling_rates_hz)
        reason = f"sampling rate {rate:g} Hz, but {source.name} has {known} Hz"
        return Dropped(entry.record, reason, broken=False)
    stored = condition(reading.signal, settings)
    if isinstance(stored, LeftOut):
        return Dropped(entry.record, stored.reason, broken=False)
    corrections = reading.corrections
    if not reading.signal.is_calibrated:
        corrections = (*corrections, UNCALIBRATED)
    return Kept(entry.record, reading.facts, rate, stored, corrections)


def outcomes(
    source: Source,
    entries: Sequence[RecordEntry],
    settings: PrepareSettings,
    *,
    n_processes: int,
) -> Iterator[Outcome]:
    """Yield what becomes of each record, in the order of `entries`.

    Memory stays bounded: only a few chunks are under way at any time.
    """
    if n_processes <= 1:
        for entry in entries:
            yield outcome(source, entry, settings)
        return
    chunks = [entries[start : start + _CHUNK] for start in range(0, len(entries), _CHUNK)]
    waiting: deque[Future[list[Outcome]]] = deque()
    pool = ProcessPoolExecutor(
        max_workers=min(n_processes, len(chunks)), mp_context=get_context("spawn")
    )
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_chunk_outcomes, source, chunk, settings))
            if len(waiting) > 3 * n_processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _chunk_outcomes(
    source: Source, chunk: Sequence[RecordEntry], settings: PrepareSettings
) -> list[Outcome]:
    return [outcome(source, entry, settings) for entry in chunk]
