"""Starts the workers of this host, for `ecgopt run`, `ecgopt worker` and the Python API."""

import os
import sys
from pathlib import Path

from ecgopt.comparison.opening import OpenComparison
from ecgopt.database.url import storage_url
from ecgopt.errors import UserError
from ecgopt.launchers.gpus import chosen_gpus
from ecgopt.launchers.local import LocalWorkers, host_slots
from ecgopt.launchers.worker_process import Slot, Start

GPU_MEMORY_MIB = 2000
GRACE_SECONDS = 60.0


def choose_slots(gpus: str | None, per_gpu: int, workers: int | None) -> list[Slot]:
    """Return the places for workers that the options ask for.

    Raises:
        UserError: a number is below 1, or a GPU is asked for that is not there.
    """
    for option, count in (("--workers", workers), ("--per-gpu", per_gpu)):
        if count is not None and count < 1:
            raise UserError(f"{option} must be at least 1, but is {count}")
    n_cores = len(os.sched_getaffinity(0))
    return host_slots(chosen_gpus(gpus), per_gpu=per_gpu, n_workers=workers, n_cores=n_cores)


def host_workers(
    study: Path,
    opened: OpenComparison,
    storage: str | None,
    slots: list[Slot],
    *,
    gpu_memory: int = GPU_MEMORY_MIB,
    grace: float = GRACE_SECONDS,
) -> LocalWorkers:
    """Return the supervisor of these slots, to be used as a context."""
    place, spec = opened.workspace, opened.spec
    return LocalWorkers(
        database=opened.database,
        start=Start(
            command=slot_command(study, place.root),
            url=storage_url(storage, place.sqlite_file),
            log_folder=place.logs(spec.name),
        ),
        slots=slots,
        silence_limit_seconds=2 * spec.workers.lease_seconds + 10,
        gpu_memory_mib=gpu_memory,
        grace_seconds=grace,
    )


def slot_command(study: Path, workspace: Path) -> list[str]:
    """Return the command of a supervised worker process."""
    return [sys.executable, "-m", "ecgopt.cli.slot", str(study), str(workspace), "supervised"]
