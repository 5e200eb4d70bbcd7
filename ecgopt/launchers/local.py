"""Worker processes on this host: started, watched, replaced when they die, and stopped."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecgopt.errors import DatabaseUnavailable, LaunchError, MachineError, StorageError, UserError
from ecgopt.launchers.contract import Launch, Resources
from ecgopt.launchers.gpus import Gpu, chosen_gpus, free_mib
from ecgopt.launchers.worker_process import EXIT_MACHINE_ERROR, Child, Slot

if TYPE_CHECKING:
    from ecgopt.database.engine import Database

logger = logging.getLogger(__name__)

_MAX_FAILED_STARTS = 5
"""Workers in a row that end before they take part in the study, before the launch ends."""
_PAUSE_AFTER_EXIT_SECONDS = 1.0
_MEMORY_PAUSE_SECONDS = 30.0
_ALLOCATION_SECONDS = 60.0
"""A worker's time until its data and its network are on the GPU."""
_HEARTBEAT_CHECK_SECONDS = 2.0
_START_SECONDS = 600.0
"""A worker's time until its first heartbeat: imports, and opening the data."""
_EXIT_USER_ERROR = 2
_MACHINE_PAUSE_SECONDS = 30.0
_MAX_MACHINE_ERRORS = 2


@dataclass(kw_only=True)
class LocalLauncher:
    """Runs workers on this host, one process for each core or share of a GPU."""

    gpus: str | None = None
    """Comma-separated indexes of the GPUs to use, as nvidia-smi counts; by default all."""
    gpu_memory_mib: int = 2000
    """MiB that must be free on a GPU before a process starts there."""
    grace_seconds: float = 60.0
    """Seconds that workers have to save and leave before they are killed."""

    is_detached = False

    def __post_init__(self) -> None:
        self.slots: Sequence[Slot] = ()
        self._failed_starts = 0
        self._checked_at = 0.0
        self._launch: Launch
        self._database: Database

    def plan(self, launch: Launch, resources: Resources) -> str:
        """Return where each worker would run."""
        gpus = [slot.gpu for slot in self.choose_slots(resources)]
        lines = [
            f"worker {number} on {f'GPU {gpu.index}' if gpu else 'a core'}"
            for number, gpu in enumerate(gpus, 1)
        ]
        return "\n".join([*lines, f"logs in {launch.log_folder}"]) + "\n"

    def submit(self, launch: Launch, resources: Resources) -> str:
        """Start the workers; `poll` starts those whose GPU has no free memory yet."""
        # Only here: the options of this class are shown without the database's libraries.
        from ecgopt.database.engine import open_database

        self._launch, self._database = launch, open_database(launch.url)
        launch.log_folder.mkdir(parents=True, exist_ok=True)
        self.slots = self.choose_slots(resources)
        self._checked_at = time.monotonic()
        self.poll()
        return f"{len(self.slots)} workers on this machine, logs in {launch.log_folder}\n"

    def poll(self) -> bool:
        """Start, watch and replace workers; return whether any runs or will be started.

        Raises:
            UserError: a worker says that the user must fix something.
            MachineError: items failed one after another in every slot.
            StorageError: workers end as soon as they start, again and again.
        """
        for slot in self.slots:
            if slot.child is not None and (code := slot.child.process.poll()) is not None:
                self._reap(slot, slot.child, code)
        self._kill_the_hung()
        for slot in self.slots:
            self._fill(slot)
        return not all(slot.is_finished for slot in self.slots)

    def stop(self) -> None:
        """Ask the workers to save and leave; after the grace time, kill them."""
        children = [slot.child for slot in self.slots if slot.child is not None]
        for child in children:
            child.ask_to_leave()
        deadline = time.monotonic() + self.grace_seconds
        for child in children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("worker %s did not leave in time: killed", child.owner)
        for slot in self.slots:
            if slot.child is not None:
                running = slot.child.process.poll() is None
                slot.child.send(signal.SIGKILL)
                slot.child.close()
                if running:
                    self._release(slot.child, "killed: did not leave in time")
                slot.child = None
        if self.slots:
            self._database.engine.dispose()
        self.slots = ()

    def kill_processes(self) -> None:
        """Kill every worker immediately and write nothing: safe in a signal handler."""
        for slot in self.slots:
            if slot.child is not None:
                slot.child.send(signal.SIGKILL)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        children = [slot.child for slot in self.slots if slot.child is not None]
        return [child.process.pid for child in children if child.process.poll() is None]

    def choose_slots(self, resources: Resources) -> list[Slot]:
        """Return the slots that the options ask for.

        Raises:
            UserError: a GPU is asked for that is not there.
        """
        share = resources.gpus_per_worker
        gpus = () if share == 0 else chosen_gpus(self.gpus)
        if share and not gpus:
            raise LaunchError(
                f"--gpus-per-worker {share:g} needs a GPU, but nvidia-smi shows none: use "
                "--gpus-per-worker 0"
            )
        return host_slots(gpus, resources, n_cores=usable_cores())

    def _reap(self, slot: Slot, child: Child, code: int) -> None:
        child.close()
        slot.child = None
        if code == 0:
            slot.is_finished = True
            return
        if code == EXIT_MACHINE_ERROR:
            self._pause_or_close(slot, child.last_line().removeprefix("error: "))
            return
        if code == _EXIT_USER_ERROR:
            self._release(child, "stopped by a user error")
            raise UserError(child.last_line().removeprefix("error: "))
        cause = child.cause_of_exit(code)
        self._failed_starts = 0 if self._has_begun(child) else self._failed_starts + 1
        self._release(child, cause)
        logger.warning("worker %s was %s: replaced; log: %s", child.owner, cause, child.log)
        slot.start_at = time.monotonic() + _PAUSE_AFTER_EXIT_SECONDS
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise StorageError(
                f"worker processes must take part in the study, but {_MAX_FAILED_STARTS} ended "
                f"before that, one after another ({cause}; {child.last_line()}): see the log "
                f"files in {self._launch.log_folder}"
            )

    def _has_begun(self, child: Child) -> bool:
        """Return whether the worker gave a sign of life; true where the database cannot tell."""
        from ecgopt.queue import heartbeats

        try:
            return bool(heartbeats.last_seen(self._database, [child.owner]))
        except DatabaseUnavailable:
            return True

    def _pause_or_close(self, slot: Slot, reason: str) -> None:
        """Start one more worker after a pause, since a new process may heal a device; then none.

        Raises:
            MachineError: it was the last slot of this machine.
        """
        slot.machine_errors += 1
        slot.start_at = time.monotonic() + _MACHINE_PAUSE_SECONDS
        if slot.machine_errors < _MAX_MACHINE_ERRORS:
            logger.warning("%s; one more worker starts in %g s", reason, _MACHINE_PAUSE_SECONDS)
            return
        slot.is_finished = True
        logger.error("%s; no more workers are started in its place", reason)
        if all(other.is_finished for other in self.slots):
            raise MachineError(reason)

    def _kill_the_hung(self) -> None:
        from ecgopt.queue import heartbeats

        elapsed = time.monotonic() - self._checked_at
        if elapsed < _HEARTBEAT_CHECK_SECONDS:
            return
        self._checked_at = time.monotonic()
        children = {slot.child.owner: slot.child for slot in self.slots if slot.child is not None}
        try:
            seen = heartbeats.last_seen(self._database, list(children))
        except DatabaseUnavailable as error:
            # No worker can write a heartbeat now, so no silence counts.
            logger.warning("%s; trying again", error)
            return
        for owner, child in children.items():
            child.watch(seen.get(owner), elapsed)
            # A worker at work renews its lease several times in this time.
            silence = 2 * self._launch.lease_seconds + 10
            if child.silent_seconds > (silence if child.seen_at else _START_SECONDS):
                child.send(signal.SIGKILL)
                child.process.wait()
                self._release(child, f"hung: silent for {child.silent_seconds:.0f} s, killed")
                logger.warning("worker %s hung and was killed; log: %s", owner, child.log)

    def _fill(self, slot: Slot) -> None:
        if slot.is_finished or slot.child is not None or time.monotonic() < slot.start_at:
            return
        if slot.gpu is not None and (reason := self._lack_of_memory(slot.gpu)):
            if self._nothing_is_left():
                slot.is_finished = True
                return
            logger.warning("%s: the next attempt is in %g s", reason, _MEMORY_PAUSE_SECONDS)
            slot.start_at = time.monotonic() + _MEMORY_PAUSE_SECONDS
            return
        slot.fill(self._launch)

    def _lack_of_memory(self, gpu: Gpu) -> str:
        """Return why no worker can start on the GPU now, empty if one can."""
        try:
            free = free_mib(gpu)
        except UserError as error:
            # A driver that is being updated: running workers keep their device.
            return str(error)
        if free is None:
            return ""
        # A worker that has just started has not yet taken its memory.
        now = time.monotonic()
        starting = [
            slot.child
            for slot in self.slots
            if slot.gpu == gpu and slot.child and now - slot.child.started_at < _ALLOCATION_SECONDS
        ]
        needed = self.gpu_memory_mib * (1 + len(starting))
        if free >= needed:
            return ""
        return (
            f"GPU {gpu.index} has {free} MiB free, and {needed} must be ({self.gpu_memory_mib} for "
            "each worker that starts, --gpu-memory-mib)"
        )

    def _nothing_is_left(self) -> bool:
        from ecgopt.queue.items import unfinished

        try:
            return unfinished(self._database, self._launch.name) == 0
        except DatabaseUnavailable as error:
            logger.warning("%s; trying again", error)
            return False

    def _release(self, child: Child, cause: str) -> None:
        from ecgopt.queue import heartbeats, items

        # Safe because this process has just reaped the owner.
        try:
            items.release_dead_workers(self._database, [child.owner], cause=f"worker {cause}")
            heartbeats.leave(self._database, [child.owner])
        except StorageError as error:
            # What this process raises next is the worker's own error, or the same as this one.
            logger.warning("%s; items of %s come free when their lease ends", error, child.owner)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    # macOS and Windows cannot tell which of their cores are granted.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def host_slots(gpus: Sequence[Gpu], resources: Resources, *, n_cores: int) -> list[Slot]:
    """Return the slots of this host: shares of the GPUs, or cores where there is no GPU.

    A number of workers is dealt out to the GPUs in turn.

    Raises:
        LaunchError: this machine has less memory than the workers reserve.
    """
    if gpus:
        count = resources.workers or len(gpus) * int(1 / (resources.gpus_per_worker or 1))
        slots = [Slot(gpus[number % len(gpus)]) for number in range(count)]
    else:
        count = int(n_cores / max(1.0, resources.cpus_per_worker)) or 1
        slots = [Slot(None) for _ in range(resources.workers or count)]
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    if (asked := len(slots) * (resources.memory_gb or 0)) > memory_gb:
        raise LaunchError(
            f"{len(slots)} workers with --memory-gb {resources.memory_gb:g} need {asked:g} GB, but "
            f"this machine has {memory_gb:.0f} GB: use fewer --workers"
        )
    return slots
