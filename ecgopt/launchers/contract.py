"""The contract of a launcher: it places the workers of a study, polls them, and stops them.

A launcher only places workers. What is done, running or lost is read from the database.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from ecgopt import plugins
from ecgopt.database.url import STORAGE_VARIABLE, storage_url
from ecgopt.errors import LaunchError
from ecgopt.workspace import Workspace

if TYPE_CHECKING:
    from ecgopt.study_file.spec import StudySpec

WORKER_MODULE: Final = "ecgopt.cli.worker_process"
"""Runs one worker. It uses every part of the package, so launchers name it and never import it."""

LAUNCHERS: Final[Mapping[str, str]] = {
    "local": "ecgopt.launchers.local:LocalLauncher",
    "slurm": "ecgopt.launchers.slurm:SlurmLauncher",
    "ray": "ecgopt.launchers.ray:RayLauncher",
}
"""The built-in launchers; each is imported when it is asked for."""

_MEMBERS = ("is_detached", "plan", "submit", "poll", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the workers of a launch get: the options that all launchers share."""

    workers: int | None = None
    """Number of workers; by default one for each share of a GPU, or for each core. A cluster needs
    the number."""
    gpus_per_worker: float | None = None
    """GPUs of each worker: 1, a share such as 0.5, or 0 for none; by default 1 where this machine
    has a GPU, and 0 on a cluster."""
    cpus_per_worker: float = 1.0
    """Cores reserved for each worker, which computes with one thread."""
    memory_gb: float | None = None
    """Memory reserved for each worker, in GB; by default nothing is reserved."""
    time_limit_minutes: float | None = None
    """Minutes until the workers are asked to save and leave; Slurm queues them again. By default
    240 on Slurm, and no limit elsewhere."""

    def __post_init__(self) -> None:
        """Raise LaunchError where a number is out of range."""
        at_least = {
            "--workers": (self.workers, 1),
            "--gpus-per-worker": (self.gpus_per_worker, 0),
            "--cpus-per-worker": (self.cpus_per_worker, 0),
        }
        for option, (number, lowest) in at_least.items():
            if number is not None and not number >= lowest:
                raise LaunchError(f"{option} must be at least {lowest}, but is {number:g}")
        above_zero = {
            "--memory-gb": self.memory_gb,
            "--time-limit-minutes": self.time_limit_minutes,
        }
        for option, quantity in above_zero.items():
            if quantity is not None and not quantity > 0:
                raise LaunchError(f"{option} must be above 0, but is {quantity:g}")
        if (self.gpus_per_worker or 0) > 1:
            raise LaunchError(
                "--gpus-per-worker must be at most 1, since a worker uses one GPU, but is "
                f"{self.gpus_per_worker:g}"
            )

    def workers_of_cluster(self, launcher: str) -> int:
        """Return the number of workers, which a cluster cannot choose by itself.

        Raises:
            LaunchError: the number is not given.
        """
        if self.workers is None:
            raise LaunchError(f"--workers is missing: {launcher} needs the number of workers")
        return self.workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The study whose workers are launched, and how one worker is started."""

    study: Path
    """The study file."""
    name: str
    """The study's name."""
    workspace: Workspace
    url: str = field(repr=False)
    """The database's URL. It may hold a password: keep it out of command lines, files and logs."""
    lease_seconds: float
    """Without renewal for so long, a worker's item goes to another worker."""
    command: tuple[str, ...]
    """The command of one worker on this machine; it needs `environment`."""

    @classmethod
    def of(cls, study: Path, spec: "StudySpec", workspace: Workspace, storage: str | None) -> Self:
        """Return the launch of a study file.

        Raises:
            StorageError: `storage` holds a password, or the file with the URL cannot be read.
        """
        file, place = study.resolve(), Workspace(workspace.root.resolve())
        return cls(
            study=file,
            name=spec.name,
            workspace=place,
            url=storage_url(storage, place.sqlite_file),
            lease_seconds=spec.workers.lease_seconds,
            command=(sys.executable, "-m", WORKER_MODULE, str(file), str(place.root)),
        )

    @property
    def log_folder(self) -> Path:
        """The folder of the workers' log files."""
        return self.workspace.logs(self.name)

    def environment(self) -> dict[str, str]:
        """Return the environment variables of a worker on this machine, this process's included.

        The database's URL travels here and never in the command, which every user can list.
        """
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        return {**os.environ, STORAGE_VARIABLE: self.url, **one_thread}


class Launcher(Protocol):
    """Places the workers of one launch. Its keyword arguments are options of `ecgopt launch`."""

    is_detached: bool
    """Whether the workers run on when the process that submitted them ends."""

    def plan(self, launch: Launch, resources: Resources) -> str:
        """Return what `submit` would start, in words or as a script; nothing is created.

        It is called before the study's data are prepared, so that a wrong option shows early.

        Raises:
            LaunchError: these resources cannot be had from this launcher.
            StorageError: the workers could not share the database.
        """

    def submit(self, launch: Launch, resources: Resources) -> str:
        """Start or queue the workers, and return where they are and how to stop them.

        Raises:
            LaunchError: the workers are refused; none is left running.
        """

    def poll(self) -> bool:
        """Return whether any worker runs, waits, or will be started again.

        Raises:
            UserError: the workers cannot work, and the user must fix the cause.
        """

    def stop(self) -> None:
        """Ask the workers to save and leave, and return when they are gone; safe to repeat."""


def find_launcher(name: str) -> type[Any]:
    """Return the class of a launcher: built in, `package.module:name`, or an entry point.

    Raises:
        UserError: there is none of this name, or it lacks a part of the contract.
    """
    if name in LAUNCHERS:
        module, _, attribute = LAUNCHERS[name].partition(":")
        found: object = getattr(importlib.import_module(module), attribute)
    else:
        found = plugins.find("launcher", name, dict.fromkeys(LAUNCHERS))
    lacking = [member for member in _MEMBERS if not hasattr(found, member)]
    if lacking or not isinstance(found, type):
        expected = f"a class with {', '.join(_MEMBERS)}"
        raise plugins.wrong_type("launcher", name, expected, found)
    return found
