"""A worker that a cluster starts on another machine, and what it checks there."""

import importlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ecgopt.database.url import (
    INSECURE_VARIABLE,
    STORAGE_FILE_VARIABLE,
    STORAGE_VARIABLE,
    family,
    parsed_url,
    shown,
    storage_url,
)
from ecgopt.errors import MachineError, StorageError, UserError
from ecgopt.launchers.contract import WORKER_MODULE, Launch, Resources
from ecgopt.launchers.launch import wait_until_done
from ecgopt.launchers.local import LocalLauncher
from ecgopt.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWorker:
    """One worker's start-up parameters. They lie on shared disks, so they hold no password."""

    study: Path
    workspace: Path
    database: str
    """The URL without a password; a machine whose environment names another one is refused."""
    storage_file: Path | None
    """The file that ECGOPT_STORAGE_FILE named at the launch."""
    insecure: bool
    """Whether --insecure was given at the launch."""
    needs_gpu: bool

    @classmethod
    def of(cls, launch: Launch, *, needs_gpu: bool) -> Self:
        """Return a worker of a launch."""
        file_name = os.environ.get(STORAGE_FILE_VARIABLE)
        return cls(
            study=launch.study,
            workspace=launch.workspace.root,
            database=shown_database(launch.url),
            storage_file=Path(file_name).resolve() if file_name else None,
            insecure=os.environ.get(INSECURE_VARIABLE) == "1",
            needs_gpu=needs_gpu,
        )

    def run(self, stop: threading.Event, url: str | None = None) -> int:
        """Work until nothing is left or `stop` is set; return how many items were closed.

        This sets environment variables, so a process runs one remote worker only.

        Args:
            stop: Set it to end cleanly.
            url: The database; by default that of this machine's environment.

        Raises:
            LaunchError: no GPU is visible though one was asked for.
            StorageError: this machine would work on another database than the launcher.
        """
        self._set_environment(url)
        self._check_database()
        device = "cuda" if self.needs_gpu else None
        worker = importlib.import_module(WORKER_MODULE)
        closed: int = worker.work(self.study, self.workspace, stop=stop, device=device)
        return closed

    def supervise(self, stop: threading.Event, *, owner: str, grace_seconds: float) -> None:
        """Work in a process of its own, replaced if it crashes, until nothing is left or `stop`.

        An error that ends the work is written next to `owner` in the database, for
        `ecgopt status`.

        Args:
            stop: Set it to end cleanly.
            owner: This job's name in the database, which no other worker has or had.
            grace_seconds: Time that the worker has to save and leave.

        Raises:
            UserError: the work cannot begin here, or the user must fix something.
            MachineError: items failed one after another.
        """
        from ecgopt.study_file.reading import load_spec

        self._set_environment(None)
        self._check_database()
        spec, workspace = load_spec(self.study), Workspace(self.workspace)
        launch = Launch.of(self.study, spec, workspace, None)
        launcher = LocalLauncher(grace_seconds=grace_seconds)
        try:
            resources = Resources(workers=1, gpus_per_worker=1.0 if self.needs_gpu else 0.0)
            launcher.submit(launch, resources)
            wait_until_done(launcher, stop.is_set)
        except (UserError, MachineError) as error:
            _record_failure(launch, owner, str(error))
            raise
        finally:
            launcher.stop()

    def _check_database(self) -> None:
        """Refuse an environment that leads to another database than that of the launch.

        Raises:
            StorageError: it does.
        """
        found = shown_database(storage_url(None, Workspace(self.workspace).sqlite_file))
        if found != self.database:
            raise StorageError(
                f"the workers of this launch share {self.database}, but on "
                f"{socket.gethostname()} the environment leads to {found}: let the cluster pass on "
                f"{STORAGE_VARIABLE} or {STORAGE_FILE_VARIABLE}"
            )

    def _set_environment(self, url: str | None) -> None:
        if url is not None:
            os.environ[STORAGE_VARIABLE] = url
        if self.storage_file is not None:
            os.environ.setdefault(STORAGE_FILE_VARIABLE, str(self.storage_file))
        if self.insecure:
            os.environ[INSECURE_VARIABLE] = "1"


def _record_failure(launch: Launch, owner: str, reason: str) -> None:
    from ecgopt.database.engine import open_existing
    from ecgopt.queue import heartbeats

    try:
        database = open_existing(launch.url)
        heartbeats.enter(database, owner, launch.name, "none")
        heartbeats.leave_failed(database, owner, reason)
        database.engine.dispose()
    except StorageError as error:
        logger.warning("the failure could not be written to the database: %s", error)


def shown_database(url: str) -> str:
    """Return a database's URL without any password."""
    return shown(parsed_url(url))


def refuse_shared_sqlite(url: str, hosts: Callable[[], Collection[str]]) -> None:
    """Refuse the embedded database for workers on other machines than this one.

    Args:
        url: The database.
        hosts: Returns every machine that a worker may start on; called for SQLite only.

    Raises:
        StorageError: SQLite, and a worker may start elsewhere.
    """
    if family(parsed_url(url)) != "sqlite":
        return
    elsewhere = sorted(set(hosts()) - {"localhost", socket.gethostname(), _short_host_name()})
    if elsewhere:
        shown = ", ".join(elsewhere[:3]) + (", ..." if len(elsewhere) > 3 else "")
        raise StorageError(
            f"SQLite must be used from one machine only, but workers may start on {shown}: name a "
            f"PostgreSQL, MySQL or MariaDB with {STORAGE_VARIABLE}"
        )


def log_to_stderr() -> None:
    """Let a worker, or a process that looks after workers, write its log to standard error."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )


def set_soon(event: threading.Event) -> None:
    """Set an event from a signal handler, whose thread may hold the event's own lock just now."""
    threading.Thread(target=event.set, name="stop", daemon=True).start()


def _short_host_name() -> str:
    return socket.gethostname().split(".")[0]
