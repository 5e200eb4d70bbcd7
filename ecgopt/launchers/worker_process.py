"""A worker process of this host: its start, its signs of life, and why it ended."""

import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from ecgopt.launchers.contract import Launch
from ecgopt.launchers.gpus import Gpu

OWNER_VARIABLE = "ECGOPT_OWNER"
EXIT_MACHINE_ERROR = 3
"""Exit code of a worker whose items failed one after another."""

_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
_LOG_TAIL_BYTES = 4000


@dataclass(slots=True)
class Child:
    """A worker process."""

    process: subprocess.Popen[bytes]
    owner: str
    log: Path
    oom_kills_before: int
    started_at: float
    seen_at: float | None = None
    """Its last heartbeat in the database, on the database's clock."""
    silent_seconds: float = 0.0
    """For how long that heartbeat has not changed while the database answered."""

    def watch(self, seen_at: float | None, elapsed: float) -> None:
        """Record the heartbeat that the database holds now, `elapsed` seconds after the last."""
        if seen_at != self.seen_at:
            self.seen_at, self.silent_seconds = seen_at, 0.0
        else:
            self.silent_seconds += elapsed

    def send(self, signal_number: signal.Signals) -> None:
        """Send the signal if the process still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)

    def ask_to_leave(self) -> None:
        """Let the worker finish its epoch, save and leave.

        The end of the pipe tells it. A SIGTERM would be its second one where a batch system has
        sent the first to all processes of a job, and it would end immediately.
        """
        if self.process.stdin is not None:
            self.process.stdin.close()

    def close(self) -> None:
        """Reap the process and close its end of the pipe."""
        self.process.wait()
        self.ask_to_leave()

    def cause_of_exit(self, code: int) -> str:
        """Return the cause of an exit code, which `subprocess` makes negative for a signal."""
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        if name == "SIGKILL" and _oom_kills_so_far() > self.oom_kills_before:
            return "killed by the kernel: out of memory"
        if name == "SIGKILL":
            return "killed by SIGKILL: by hand, by the batch system, or out of memory"
        return f"killed by {name}"

    def last_line(self) -> str:
        """Return the last line of the worker's log, which holds its own error."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass(slots=True)
class Slot:
    """A core or a share of a GPU, for one worker process at a time."""

    gpu: Gpu | None
    child: Child | None = None
    is_finished: bool = False
    """Whether its worker found nothing left to do."""
    machine_errors: int = 0
    """Workers that stopped here because their items failed one after another."""
    start_at: float = field(default_factory=time.monotonic)
    """The earliest start of the next process, on the monotonic clock."""

    def fill(self, launch: Launch) -> Child:
        """Start a worker process."""
        # Only here: the options of the local launcher are shown without torch.
        from ecgopt.jobs.worker import new_owner

        owner = new_owner()
        log = launch.log_folder / f"worker-{owner.rsplit(':', 1)[1]}.log"
        oom_kills = _oom_kills_so_far()
        # "-1" hides every GPU: a worker on a core must not open a CUDA context.
        visible = self.gpu.uuid if self.gpu is not None else "-1"
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [*launch.command, "supervised", *(["cuda"] if self.gpu is not None else [])],
                env={
                    **launch.environment(),
                    OWNER_VARIABLE: owner,
                    "CUDA_VISIBLE_DEVICES": visible,
                },
                # The worker reads this pipe; its end tells that the supervisor is gone.
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                # A Ctrl-C then reaches the parent only, which asks the workers for a clean stop.
                start_new_session=True,
            )
        self.child = Child(process, owner, log, oom_kills, time.monotonic())
        return self.child


def _oom_kills_so_far() -> int:
    """Return how many processes of this container the out-of-memory killer has taken."""
    try:
        lines = _MEMORY_EVENTS.read_text().splitlines()
    except OSError:
        return 0  # no such count outside a version 2 control group
    counts = dict(line.split() for line in lines)
    return int(counts.get("oom_kill", 0))
