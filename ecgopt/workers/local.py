"""Worker processes on this machine: started, watched, replaced when they die, and stopped."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ecgopt.errors import StorageError
from ecgopt.tuning.address import STORAGE_VARIABLE
from ecgopt.tuning.storage import TRANSIENT_ERRORS, Database
from ecgopt.workers import items
from ecgopt.workers.worker import new_owner

logger = logging.getLogger(__name__)

OWNER_VARIABLE = "ECGOPT_OWNER"
_GRACE_SECONDS = 30.0
_QUICK_DEATH_SECONDS = 5.0
_MAX_QUICK_DEATHS = 5


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    owner: str
    started_at: float


@dataclass(slots=True, kw_only=True)
class LocalWorkers:
    """A number of worker processes for one study file; use as a context."""

    study_file: Path
    workspace: Path
    database: Database
    url: str
    log_folder: Path
    n_workers: int
    threads_per_worker: int = 1
    _children: list[_Child] = field(default_factory=list)
    _quick_deaths: int = 0

    def __enter__(self) -> "LocalWorkers":
        self.log_folder.mkdir(parents=True, exist_ok=True)
        for _ in range(self.n_workers):
            self._children.append(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tend(self) -> bool:
        """Replace dead workers and free their items at once; return whether any is at work.

        Raises:
            StorageError: workers die as soon as they start, again and again; see their log.
        """
        for index, child in enumerate(self._children):
            code = child.process.poll()
            if code is None or code == 0:
                continue
            self._release(child.owner)
            logger.warning("worker %s ended with code %s: replaced", child.owner, code)
            if time.monotonic() - child.started_at < _QUICK_DEATH_SECONDS:
                self._quick_deaths += 1
            if self._quick_deaths >= _MAX_QUICK_DEATHS:
                raise StorageError(
                    f"worker processes must keep running, but {_MAX_QUICK_DEATHS} died within "
                    f"{_QUICK_DEATH_SECONDS:g} s of their start: see the log files in "
                    f"{self.log_folder}"
                )
            self._children[index] = self._start()
        return any(child.process.poll() is None for child in self._children)

    def stop(self) -> None:
        """Ask the workers to checkpoint and leave; after the grace time, kill them."""
        running = [child for child in self._children if child.process.poll() is None]
        for child in running:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for child in running:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
                self._release(child.owner)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [child.process.pid for child in self._children if child.process.poll() is None]

    def _release(self, owner: str) -> None:
        # Safe because this process has just reaped the owner.
        try:
            items.release_all_of(self.database, [owner])
        except TRANSIENT_ERRORS:
            logger.warning("the items of %s come free when their lease ends", owner)

    def _start(self) -> _Child:
        owner = new_owner()
        threads = str(self.threads_per_worker)
        environment = {
            **os.environ,
            # The URL travels in the environment, never in argv, which every user can list.
            STORAGE_VARIABLE: self.url,
            OWNER_VARIABLE: owner,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }
        command = [
            sys.executable, "-m", "ecgopt", "worker", str(self.study_file),
            "--workspace", str(self.workspace),
        ]  # fmt: skip
        with (self.log_folder / f"worker-{owner.rsplit(':', 1)[1]}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C then reaches the parent only, which asks the workers for a clean stop.
                start_new_session=True,
            )
        return _Child(process=process, owner=owner, started_at=time.monotonic())


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
