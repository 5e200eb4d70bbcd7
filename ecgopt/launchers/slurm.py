"""Workers as the jobs of one Slurm array, submitted with submitit.

What Slurm or submitit believe about a job is never asked: leases and the workers' rows in the
database say what runs. Without Slurm's accounting a killed job looks unfinished for good.
"""

import logging
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from submitit.core.utils import DelayedSubmission, FailedJobError
from submitit.slurm.slurm import SlurmExecutor

from ecgopt.errors import LaunchError
from ecgopt.launchers.remote_worker import Posting, set_soon
from ecgopt.launchers.resources import SlurmPlacement

logger = logging.getLogger(__name__)

_NEVER_TOO_OFTEN = 1_000_000
"""submitit counts requeues and gives up after three by default; here only the study ends a job."""

_SECONDS_TO_REQUEUE = 30
"""Kept from the grace time for submitit's own checkpoint and `scontrol requeue`."""

Handler = Callable[[int, FrameType | None], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmWorker:
    """One worker as submitit pickles it, runs it, and after a requeue runs it again."""

    posting: Posting
    grace_seconds: int

    def __call__(self) -> None:
        """Work in a Slurm job until the study is finished or Slurm wants the node back.

        SIGTERM (pre-emption, `scontrol requeue`, `scancel`): the epoch is finished and saved, the
        item given back; Slurm itself decides whether the job comes again. SIGUSR2 (the time limit
        is near): the same, and then the job queues again.
        """
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        # submitit prints its own lines; passed on to the root they would appear twice.
        logging.getLogger("submitit").propagate = False
        stop = threading.Event()
        limit = _TimeLimit(stop, max(1, self.grace_seconds - _SECONDS_TO_REQUEUE))
        # submitit ignores SIGTERM until Slurm's SIGKILL, so its handler has to be replaced here.
        signal.signal(signal.SIGTERM, lambda _number, _frame: set_soon(stop))
        self.posting.run(stop)
        limit.requeue_if_due()

    def checkpoint(self) -> DelayedSubmission:
        """Return what submitit runs after a requeue: the same worker, as all state is elsewhere."""
        return DelayedSubmission(self)


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


def build_executor(placement: SlurmPlacement, folder: Path, name: str) -> SlurmExecutor:
    """Return submitit's executor for a study's workers.

    Args:
        placement: What each job asks Slurm for.
        folder: Logs and pickles, on a disk that every node sees; `%A` is the array's number.
        name: Name of the study.

    Raises:
        LaunchError: this machine cannot submit jobs.
    """
    try:
        executor = SlurmExecutor(folder / "%A", max_num_timeout=_NEVER_TOO_OFTEN)
    except RuntimeError:
        raise LaunchError(
            "`srun` and `sbatch` must be on the PATH, but are not: log in to a node of the cluster"
        ) from None
    asked = {
        "partition": placement.partition,
        "gres": placement.gres,
        "gpus_per_node": placement.gpus_per_node,
        "account": placement.account,
        "qos": placement.qos,
        "array_parallelism": placement.array_parallelism,
        "mem": f"{placement.memory_gb}GB" if placement.memory_gb else None,
    }
    executor.update_parameters(
        job_name=f"ecgopt-{name}",
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=placement.cpus,
        time=placement.time_minutes,
        signal_delay_s=placement.grace_seconds,
        stderr_to_stdout=True,
        setup=["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"],
        additional_parameters={"requeue": True, **placement.sbatch},
        **{key: value for key, value in asked.items() if value is not None},
    )
    return executor


def batch_script(executor: SlurmExecutor, n_workers: int) -> str:
    """Return the script that `submit` would hand to sbatch."""
    if n_workers > 1:
        executor.parameters["map_count"] = n_workers
    return str(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))


def submit(executor: SlurmExecutor, worker: SlurmWorker, n_workers: int) -> str:
    """Submit the workers as one array and return its job number.

    The environment goes with the jobs, as sbatch does by default; so does ECGOPT_STORAGE.

    Raises:
        LaunchError: Slurm refused.
    """
    try:
        with executor.batch():
            jobs = [executor.submit(worker) for _ in range(n_workers)]
    except FailedJobError as error:
        raise LaunchError(f"Slurm must accept the jobs, but: {_last_line(str(error))}") from None
    return str(jobs[0].job_id).split("_")[0]


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
