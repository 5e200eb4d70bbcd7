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
from ecgopt.errors import StorageError
from ecgopt.launchers.contract import WORKER_MODULE, Launch
from ecgopt.workspace import Workspace


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
        found = shown_database(storage_url(None, Workspace(self.workspace).sqlite_file))
        if found != self.database:
            raise StorageError(
                f"the workers of this launch share {self.database}, but on "
                f"{socket.gethostname()} the environment leads to {found}: let the cluster pass on "
                f"{STORAGE_VARIABLE} or {STORAGE_FILE_VARIABLE}"
            )
        device = "cuda" if self.needs_gpu else None
        worker = importlib.import_module(WORKER_MODULE)
        closed: int = worker.work(self.study, self.workspace, stop=stop, device=device)
        return closed

    def _set_environment(self, url: str | None) -> None:
        if url is not None:
            os.environ[STORAGE_VARIABLE] = url
        if self.storage_file is not None:
            os.environ.setdefault(STORAGE_FILE_VARIABLE, str(self.storage_file))
        if self.insecure:
            os.environ[INSECURE_VARIABLE] = "1"


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
