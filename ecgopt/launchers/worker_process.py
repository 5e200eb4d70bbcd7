"""One place for a worker on this host, and the process that fills it at the moment."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecgopt.database.url import STORAGE_VARIABLE
from ecgopt.jobs.worker import new_owner
from ecgopt.launchers.exit_status import oom_kills_so_far
from ecgopt.launchers.gpus import Gpu

OWNER_VARIABLE = "ECGOPT_OWNER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What every worker process of this host is started with."""

    command: Sequence[str]
    url: str
    """The database's. It travels in the environment, never in argv, which every user can list."""
    log_folder: Path
    threads: int = 1

    def environment(self, owner: str, gpu: Gpu | None) -> Mapping[str, str]:
        """Return the environment of one worker process."""
        threads = str(self.threads)
        return {
            **os.environ,
            STORAGE_VARIABLE: self.url,
            OWNER_VARIABLE: owner,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            # "-1" hides every GPU: a CPU slot on a GPU host must not open a context there.
            "CUDA_VISIBLE_DEVICES": gpu.uuid if gpu is not None else "-1",
        }


@dataclass(slots=True)
class Child:
    """A worker process."""

    process: subprocess.Popen[bytes]
    owner: str
    log: Path
    started_at: float
    oom_kills_before: int
    seen_at: float | None = None
    """Its last sign of life in the database, on the database's clock."""
    silent_seconds: float = 0.0
    """How long we have watched that sign not change while the database answered."""

    def watch(self, seen_at: float | None, elapsed: float) -> None:
        """Note the sign of life that the database holds now, `elapsed` seconds after the last."""
        if seen_at != self.seen_at:
            self.seen_at, self.silent_seconds = seen_at, 0.0
        else:
            self.silent_seconds += elapsed

    def send(self, signal_number: signal.Signals) -> None:
        """Send the signal if the process is still there."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)

    def close(self) -> None:
        """Reap the process and close its end of the pipe."""
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


@dataclass(slots=True)
class Slot:
    """A CPU core or a share of a GPU."""

    gpu: Gpu | None
    child: Child | None = None
    is_finished: bool = False
    """Its worker found nothing left to do."""
    start_at: float = field(default_factory=time.monotonic)
    """Not before this moment on the monotonic clock."""

    def fill(self, start: Start) -> Child:
        """Start a worker process here."""
        owner = new_owner()
        log = start.log_folder / f"worker-{owner.rsplit(':', 1)[1]}.log"
        oom_kills = oom_kills_so_far()
        with log.open("ab") as stream:
            process = subprocess.Popen(
                list(start.command),
                env=start.environment(owner, self.gpu),
                # The worker reads this pipe; its end tells that the supervisor is gone.
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                # A Ctrl-C then reaches the parent only, which asks the workers for a clean stop.
                start_new_session=True,
            )
        self.child = Child(process, owner, log, time.monotonic(), oom_kills)
        return self.child
