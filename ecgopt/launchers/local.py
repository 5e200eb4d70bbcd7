"""The supervisor of a host: its worker processes started, watched, replaced and stopped."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from ecgopt.database.engine import Database
from ecgopt.errors import DatabaseUnavailable, StorageError, UserError
from ecgopt.launchers.exit_status import cause_of_death, last_line, oom_kills_so_far
from ecgopt.launchers.gpus import Gpu, gpus_of_host
from ecgopt.launchers.worker_process import Child, Slot, Start
from ecgopt.queue import heartbeats, items

logger = logging.getLogger(__name__)

_QUICK_DEATH_SECONDS = 5.0
_MAX_QUICK_DEATHS = 5
_PAUSE_AFTER_DEATH_SECONDS = 1.0
_MEMORY_PAUSE_SECONDS = 30.0
_LOOK_SECONDS = 2.0
"""How often the workers' signs of life are read."""
_STARTING_SECONDS = 600.0
"""How long a worker may take until its first sign of life: imports, and opening the data."""
_EXIT_USER_ERROR = 2


@dataclass(slots=True, kw_only=True)
class LocalWorkers:
    """Worker processes for one study file, one to a slot; use as a context."""

    database: Database
    start: Start
    slots: Sequence[Slot]
    silence_limit_seconds: float
    """A worker at work renews several times in this time; one that does not hangs."""
    gpu_memory_mib: int
    """Free memory that a GPU must have before another worker is started on it."""
    grace_seconds: float
    _quick_deaths: int = 0
    _looked_at: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Self:
        self.start.log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tend(self) -> bool:
        """Start, watch and replace workers; return whether any is at work or still to come.

        Raises:
            UserError: a worker says that the user must mend something.
            StorageError: workers die as soon as they start, again and again.
        """
        for slot in self.slots:
            if slot.child is not None and (code := slot.child.process.poll()) is not None:
                self._bury(slot, slot.child, code)
        self._kill_the_hung()
        for slot in self.slots:
            self._fill(slot)
        return not all(slot.is_finished for slot in self.slots)

    def stop(self) -> None:
        """Ask the workers to checkpoint and leave; after the grace time, kill them."""
        children = [slot.child for slot in self.slots if slot.child is not None]
        for child in children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        for child in children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("worker %s did not leave in time: killed", child.owner)
        self._kill()

    def kill_processes(self) -> None:
        """End every worker at once and write nothing: safe in a signal handler."""
        for slot in self.slots:
            if slot.child is not None:
                slot.child.send(signal.SIGKILL)

    def _kill(self) -> None:
        for slot in self.slots:
            if slot.child is not None:
                running = slot.child.process.poll() is None
                slot.child.send(signal.SIGKILL)
                slot.child.close()
                if running:
                    self._release(slot.child, "killed: did not leave in time")
                slot.child = None

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        children = [slot.child for slot in self.slots if slot.child is not None]
        return [child.process.pid for child in children if child.process.poll() is None]

    def _bury(self, slot: Slot, child: Child, code: int) -> None:
        child.close()
        slot.child = None
        if code == 0:
            slot.is_finished = True
            return
        if code == _EXIT_USER_ERROR:
            self._release(child, "stopped by a user error")
            raise UserError(last_line(child.log).removeprefix("error: "))
        oom_kills = oom_kills_so_far() - child.oom_kills_before
        cause = cause_of_death(code, oom_kills=oom_kills)
        self._release(child, cause)
        logger.warning("worker %s was %s: replaced; log: %s", child.owner, cause, child.log)
        slot.start_at = time.monotonic() + _PAUSE_AFTER_DEATH_SECONDS
        if time.monotonic() - child.started_at < _QUICK_DEATH_SECONDS:
            self._quick_deaths += 1
        if self._quick_deaths >= _MAX_QUICK_DEATHS:
            raise StorageError(
                f"worker processes must keep running, but {_MAX_QUICK_DEATHS} died within "
                f"{_QUICK_DEATH_SECONDS:g} s of their start ({cause}; {last_line(child.log)}): "
                f"see the log files in {self.start.log_folder}"
            )

    def _kill_the_hung(self) -> None:
        elapsed = time.monotonic() - self._looked_at
        if elapsed < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        children = {slot.child.owner: slot.child for slot in self.slots if slot.child is not None}
        try:
            seen = heartbeats.last_seen(self.database, list(children))
        except DatabaseUnavailable as error:
            # No worker can write a heartbeat now, so no silence counts.
            logger.warning("%s; trying again", error)
            return
        for owner, child in children.items():
            child.watch(seen.get(owner), elapsed)
            limit = self.silence_limit_seconds if child.seen_at else _STARTING_SECONDS
            if child.silent_seconds > limit:
                child.send(signal.SIGKILL)
                child.process.wait()
                self._release(child, f"hung: silent for {child.silent_seconds:.0f} s, killed")
                logger.warning("worker %s hung and was killed; log: %s", owner, child.log)

    def _fill(self, slot: Slot) -> None:
        if slot.is_finished or slot.child is not None or time.monotonic() < slot.start_at:
            return
        if slot.gpu is not None and (free := _free_mib(slot.gpu)) < self.gpu_memory_mib:
            logger.warning(
                "GPU %d has %d MiB free and a worker needs %d: waiting",
                slot.gpu.index, free, self.gpu_memory_mib,
            )  # fmt: skip
            slot.start_at = time.monotonic() + _MEMORY_PAUSE_SECONDS
            return
        slot.fill(self.start)

    def _release(self, child: Child, cause: str) -> None:
        # Safe because this process has just reaped the owner.
        try:
            items.release_dead_workers(self.database, [child.owner], cause=f"worker {cause}")
            heartbeats.leave(self.database, [child.owner])
        except StorageError as error:
            # What this process raises next is the worker's own error, or the same as this one.
            logger.warning("%s; items of %s come free when their lease ends", error, child.owner)


class TendedWorkers(Protocol):
    """Workers whose starter looks after them."""

    def tend(self) -> bool:
        """Return whether any is at work or may come to work."""


def wait_until_done(
    workers: TendedWorkers, is_finished: Callable[[], bool], *, poll_seconds: float = 0.5
) -> None:
    """Tend the workers until everything is finished or none is left."""
    while not is_finished():
        if not workers.tend():
            return
        time.sleep(poll_seconds)


def host_slots(
    gpus: Sequence[Gpu], *, per_gpu: int, n_workers: int | None, n_cores: int
) -> list[Slot]:
    """Return the places for workers: shares of the GPUs, or cores where there is no GPU.

    `n_workers` sets the number of places; on GPUs they are dealt out in turn.
    """
    if not gpus:
        return [Slot(None) for _ in range(n_workers or n_cores)]
    count = n_workers or per_gpu * len(gpus)
    return [Slot(gpus[number % len(gpus)]) for number in range(count)]


def _free_mib(gpu: Gpu) -> int:
    now = {found.uuid: found.free_mib for found in gpus_of_host()}
    return now.get(gpu.uuid, 0)
