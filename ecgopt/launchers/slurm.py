"""Workers as the jobs of one Slurm array, submitted with submitit.

What Slurm or submitit believe about a job says nothing about the study: leases and the workers'
rows in the database do. Without Slurm's accounting a killed job looks unfinished for good.
"""

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ecgopt.database.url import STORAGE_VARIABLE, storage_url
from ecgopt.errors import LaunchError
from ecgopt.launchers.contract import Launch, Resources
from ecgopt.launchers.remote_worker import (
    RemoteWorker,
    log_to_stderr,
    refuse_shared_sqlite,
    set_soon,
)
from ecgopt.plugins import optional_library

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission
    from submitit.slurm.slurm import SlurmExecutor

logger = logging.getLogger(__name__)

_TIME_LIMIT_MINUTES = 240.0
_UNLIMITED_REQUEUES = 1_000_000
"""submitit counts requeues and gives up after three by default; here only the study ends a job."""

_REQUEUE_SECONDS = 30
"""Kept from the grace time for submitit's own checkpoint and `scontrol requeue`."""
_POLL_SECONDS = 1.0

Handler = Callable[[int, FrameType | None], object]


@dataclass(kw_only=True)
class SlurmLauncher:
    """Submits workers as one array of Slurm jobs, which stay until the study is finished.

    A job that reaches its time limit or is pre-empted saves, gives its item back and queues again.
    """

    partition: str | None = None
    """Partition; by default the cluster's own default."""
    gres: str | None = None
    """Generic resources of each job, such as gpu:a100:1; replaces --gpus-per-worker."""
    grace_seconds: int = 120
    """Seconds between the warning and the time limit; make it longer than the longest epoch."""
    array_parallelism: int | None = None
    """Number of jobs of the array that may run at the same time; by default all."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    log_folder: Path | None = None
    """Logs and job files, seen by all nodes; by default logs/NAME in the workspace."""
    sbatch: dict[str, str] = field(default_factory=dict)
    """Any other option of sbatch, such as --sbatch.constraint a100."""

    is_detached = True

    def __post_init__(self) -> None:
        self.job = ""

    def plan(self, launch: Launch, resources: Resources) -> str:
        """Return the script that sbatch would get.

        Raises:
            LaunchError: this machine cannot submit jobs, or Slurm cannot give the resources.
            StorageError: SQLite, and a job may start on another machine.
        """
        count, executor = resources.workers_of_cluster("slurm"), self._executor(launch, resources)
        refuse_shared_sqlite(launch.url, lambda: node_names(self.partition))
        if count > 1:
            executor.parameters["map_count"] = count
        return str(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))

    def submit(self, launch: Launch, resources: Resources) -> str:
        """Submit the array.

        The jobs inherit this process's environment, as sbatch passes it on.

        Raises:
            LaunchError: Slurm refused.
        """
        from submitit.core.utils import FailedJobError

        if storage_url(None, launch.workspace.sqlite_file) != launch.url:
            os.environ[STORAGE_VARIABLE] = launch.url  # that of --storage, which has no password
        executor, count = self._executor(launch, resources), resources.workers_of_cluster("slurm")
        worker = SlurmWorker(
            worker=RemoteWorker.of(launch, needs_gpu=self._has_gpu(resources)),
            grace_seconds=self.grace_seconds,
        )
        try:
            with executor.batch():
                jobs = [executor.submit(worker) for _ in range(count)]
        except FailedJobError as error:
            raise LaunchError(
                f"Slurm must accept the jobs, but: {_last_line(str(error))}"
            ) from None
        self.job = str(jobs[0].job_id).split("_")[0]
        return (
            f"job {self.job}: {count} workers in Slurm's queue, logs in "
            f"{self._logs(launch) / self.job}\n"
            f"watch: ecgopt status {launch.study}\n"
            f"stop: scancel {self.job} (the workers save and give their items back)\n"
        )

    def poll(self) -> bool:
        """Return whether any job of the array is in Slurm's queue or runs."""
        command = ["squeue", "--noheader", f"--jobs={self.job}", "--format=%T"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            logger.warning("Slurm does not answer `squeue` (%s); trying again", error)
            return True
        if found.returncode != 0 and "Invalid job id" not in found.stderr:
            logger.warning("Slurm does not answer `squeue` (%s); trying again",
                           _last_line(found.stderr))  # fmt: skip
            return True
        return bool(found.stdout.strip())

    def stop(self) -> None:
        """Cancel the array; running workers save, and Slurm kills them after its KillWait."""
        if not self.job:
            return
        subprocess.run(["scancel", self.job], capture_output=True, timeout=60, check=False)
        while self.poll():
            time.sleep(_POLL_SECONDS)
        self.job = ""

    def _has_gpu(self, resources: Resources) -> bool:
        return bool(resources.gpus_per_worker) or "gpu" in (self.gres or "")

    def _logs(self, launch: Launch) -> Path:
        return (self.log_folder or launch.log_folder).resolve()

    def _executor(self, launch: Launch, resources: Resources) -> "SlurmExecutor":
        minutes = resources.time_limit_minutes or _TIME_LIMIT_MINUTES
        if not 0 < self.grace_seconds < 60 * minutes:
            raise LaunchError(
                f"--grace-seconds must be above 0 and below the time limit of {minutes:g} minutes, "
                f"but is {self.grace_seconds}"
            )
        whole = {
            "--gpus-per-worker": resources.gpus_per_worker or 0,
            "--cpus-per-worker": resources.cpus_per_worker,
            "--time-limit-minutes": minutes,
        }
        for option, number in whole.items():
            if number != int(number):
                raise LaunchError(f"{option} must be a whole number on Slurm, but is {number:g}")
        optional_library("submitit", "slurm", LaunchError)
        from submitit.slurm.slurm import SlurmExecutor

        try:
            executor = SlurmExecutor(self._logs(launch) / "%A", max_num_timeout=_UNLIMITED_REQUEUES)
        except RuntimeError:
            raise LaunchError(
                "`srun` and `sbatch` must be on the PATH, but are not: log in to a node of the "
                "cluster"
            ) from None
        memory = resources.memory_gb
        asked = {
            "partition": self.partition,
            "gres": self.gres,
            "gpus_per_node": None if self.gres else int(resources.gpus_per_worker or 0) or None,
            "account": self.account,
            "qos": self.qos,
            "array_parallelism": self.array_parallelism,
            "mem": f"{round(1000 * memory)}MB" if memory else None,
        }
        executor.update_parameters(
            job_name=f"ecgopt-{launch.name}",
            nodes=1,
            ntasks_per_node=1,
            cpus_per_task=max(1, int(resources.cpus_per_worker)),
            time=int(minutes),
            signal_delay_s=self.grace_seconds,
            stderr_to_stdout=True,
            setup=["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"],
            additional_parameters={"requeue": True, **self.sbatch},
            **{key: value for key, value in asked.items() if value is not None},
        )
        return executor


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmWorker:
    """One worker as submitit pickles it, runs it, and after a requeue runs it again."""

    worker: RemoteWorker
    grace_seconds: int

    def __call__(self) -> None:
        """Work in a Slurm job until the study is finished or Slurm wants the node back.

        The worker is a process of the job's own, so a crash or the kernel's out-of-memory killer
        ends it and not the job, which replaces it.

        SIGTERM (pre-emption, `scontrol requeue`, `scancel`): the epoch is finished and saved, the
        item given back; Slurm itself decides whether the job comes again. SIGUSR2 (the time limit
        is near): the same, and then the job queues again.
        """
        log_to_stderr()
        # submitit prints its own lines; passed on to the root they would appear twice.
        logging.getLogger("submitit").propagate = False
        stop = threading.Event()
        limit = _TimeLimit(stop, max(1, self.grace_seconds - _REQUEUE_SECONDS))
        # submitit ignores SIGTERM until Slurm's SIGKILL, so its handler has to be replaced here.
        signal.signal(signal.SIGTERM, lambda _number, _frame: set_soon(stop))
        self.worker.supervise(
            stop, owner=_job_name(), grace_seconds=max(1, self.grace_seconds - _REQUEUE_SECONDS)
        )
        limit.requeue_if_due()

    def checkpoint(self) -> "DelayedSubmission":
        """Return what submitit runs after a requeue: the same worker, as all state is elsewhere."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def _job_name() -> str:
    """Return this job's name in the database, another one after each requeue."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID", "0")
    task = os.environ.get("SLURM_ARRAY_TASK_ID", "0")
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    return f"{socket.gethostname()[:60]}:slurm-{job}-{task}-{restarts}"


class _TimeLimit:
    """Lets the epoch end before submitit's handler requeues, as long as the grace time allows."""

    def __init__(self, stop: threading.Event, seconds_for_epoch: int) -> None:
        self._stop = stop
        self._seconds_for_epoch = seconds_for_epoch
        self._is_due = False
        self._requeue = _handler_of(signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, self._wait_for_epoch)

    def requeue_if_due(self) -> None:
        """Requeue this job and leave the process, if the limit is near."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._is_due:
            self._requeue(signal.SIGUSR2, None)

    def _wait_for_epoch(self, _number: int, _frame: FrameType | None) -> None:
        self._is_due = True
        set_soon(self._stop)
        # An epoch longer than this is lost, which costs less than a job that is not requeued.
        signal.signal(signal.SIGALRM, self._requeue)
        signal.setitimer(signal.ITIMER_REAL, self._seconds_for_epoch)


def _handler_of(number: signal.Signals) -> Handler:
    handler = signal.getsignal(number)
    if not callable(handler):
        raise TypeError(f"submitit must handle {number.name} in its jobs, but has {handler!r}")
    return handler


def node_names(partition: str | None) -> list[str]:
    """Return the host names of every node that a job may start on.

    Args:
        partition: Partition; None means the cluster's default.

    Raises:
        LaunchError: Slurm does not answer.
    """
    command = ["sinfo", "--noheader", "--Node", "--format=%n %P"]
    if partition is not None:
        command.append(f"--partition={partition}")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        raise LaunchError(f"Slurm must answer `sinfo`, but: {_last_line(str(detail))}") from None
    pairs = [line.split() for line in answer.stdout.splitlines()]
    # The default partition is the one with a star.
    return sorted({node for node, name in pairs if partition is not None or name.endswith("*")})


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason was given"
