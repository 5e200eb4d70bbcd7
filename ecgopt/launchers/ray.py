"""Workers as Ray actors, on a cluster that runs already or on a private one on this machine.

Ray restarts an actor that dies, elsewhere if its node is gone; the new worker continues from the
database and the checkpoints. Ray takes SIGTERM for a crash, so a clean stop is a method call.
"""

import logging
import math
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ecgopt.errors import LaunchError, UserError
from ecgopt.launchers.contract import Launch, Resources
from ecgopt.launchers.remote_worker import RemoteWorker, log_to_stderr, refuse_shared_sqlite
from ecgopt.plugins import optional_library

logger = logging.getLogger(__name__)

_UNLIMITED = -1
"""Bounded retries are spent on refused connections before Ray declares a node dead."""

_TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

_ANSWER_SECONDS = 10.0
"""An actor that lives answers a call within this time, whatever its other thread computes."""
_HEAD_CHECK_SECONDS = 2.0
_HEAD_LOST_SECONDS = 10.0
_GRACE_WITHOUT_HEAD_SECONDS = 20.0
"""Ray ends this process a minute after the head is lost, and says nothing to the user."""


class WorkerActor:
    """One worker; Ray runs `work` in one thread and `ask_to_stop` in another."""

    def __init__(self, worker: RemoteWorker, url: SecretStr) -> None:
        self._worker = worker
        self._url = url
        self._stop = threading.Event()

    def work(self) -> int:
        """Work until nothing is left or a stop is asked for; return how many items were closed."""
        log_to_stderr()
        return self._worker.run(self._stop, self._url.get_secret_value())

    def ask_to_stop(self) -> None:
        """Let `work` finish its epoch, save, give its item back and return."""
        self._stop.set()


@dataclass(kw_only=True)
class RayLauncher:
    """Runs workers as Ray actors and watches them until the study is finished."""

    address: str | None = None
    """A running cluster, as HOST:PORT or auto; by default Ray is started on this machine."""
    grace_seconds: float = 60.0
    """Seconds that workers have to save and leave before they are killed."""

    is_detached = False

    def __post_init__(self) -> None:
        self._ray: Any = None
        self._working: dict[Any, Any] = {}  # the actor of each call of `work` that runs
        self._connection = ExitStack()
        self._head: tuple[str, int] | None = None
        self._head_seen_at = self._head_asked_at = 0.0

    def plan(self, launch: Launch, resources: Resources) -> str:
        """Return what each actor would ask Ray for; nothing connects to Ray.

        Raises:
            LaunchError: Ray is not installed, or the number of workers is not given.
        """
        self._ray = optional_library("ray", "ray", LaunchError)
        place = f"Ray at {self.address}" if self.address else "a private Ray on this machine"
        count, asked = resources.workers_of_cluster("ray"), _resources_of_actor(resources)
        return f"{count} actors for {launch.name} on {place}, each with {asked}\n"

    def submit(self, launch: Launch, resources: Resources) -> str:
        """Connect to Ray and start the actors; those that find no free place wait for one.

        Raises:
            LaunchError: Ray does not answer, or has fewer GPUs than a worker needs.
            StorageError: SQLite, and the cluster has other machines.
        """
        self.plan(launch, resources)
        count = resources.workers_of_cluster("ray")
        with ExitStack() as connection:
            self._connect(connection, count, resources)
            refuse_shared_sqlite(launch.url, self._hosts)
            self._check_gpus(resources)
            actor = self._ray.remote(WorkerActor).options(
                **_resources_of_actor(resources),
                max_restarts=_UNLIMITED,
                max_task_retries=_UNLIMITED,
                max_concurrency=2,
                scheduling_strategy="SPREAD",
            )
            worker = RemoteWorker.of(launch, needs_gpu=bool(resources.gpus_per_worker))
            for _ in range(count):
                handle: Any = actor.remote(worker, SecretStr(launch.url))
                self._working[handle.work.remote()] = handle
            self._connection = connection.pop_all()
        return f"{count} workers as Ray actors; they stop when this command ends\n"

    def poll(self) -> bool:
        """Return whether any worker runs or waits for a place.

        Raises:
            LaunchError: a worker could not work where Ray put it, or the head of Ray is lost.
        """
        if self._head is not None:
            self._check_head(self._head)
        for call in self._ready(self._working, timeout=0.0):
            del self._working[call]
            try:
                self._ray.get(call)
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise LaunchError(f"a worker could not begin: {error.cause}") from None
                raise
        return bool(self._working)

    def stop(self) -> None:
        """Ask the workers to save and leave; kill those that do not within the grace time."""
        with self._connection:
            actors = list(self._working.values())
            asked = {actor.ask_to_stop.remote(): call for call, actor in self._working.items()}
            # One that waits for a place answers no call, and has nothing to save.
            leaving = [asked[answer] for answer in self._ready(asked, timeout=_ANSWER_SECONDS)]
            late = len(leaving) - len(self._ready(leaving, timeout=self.grace_seconds))
            if late:
                logger.warning("%d workers did not stop in time; their leases run out", late)
            for actor in actors:
                self._ray.kill(actor)
            self._working.clear()
            self._head = None

    def _connect(self, connection: ExitStack, count: int, resources: Resources) -> None:
        # Ray reports its usage to its makers unless told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        private: dict[str, Any] = {}
        if self.address is None:
            connection.enter_context(_own_token())
            cpus = math.ceil(count * resources.cpus_per_worker)
            private = {"num_cpus": max(1, cpus), "include_dashboard": False}
        try:
            # Without "local", Ray would join whatever cluster it finds traces of.
            self._ray.init(
                address=self.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **private,
            )
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise LaunchError(
                f"Ray at {self.address or 'this machine'} must answer, but: "
                f"{str(error).strip().splitlines()[0][:300]}; run the launcher on one of the "
                f"cluster's nodes, with its token where {_TOKEN_PATH} says"
            ) from error
        connection.callback(self._ray.shutdown)
        host, _, port = self._ray.get_runtime_context().gcs_address.rpartition(":")
        self._head, self._head_seen_at = (host, int(port)), time.monotonic()

    def _check_head(self, address: tuple[str, int]) -> None:
        if time.monotonic() - self._head_asked_at < _HEAD_CHECK_SECONDS:
            return
        try:
            socket.create_connection(address, timeout=_HEAD_CHECK_SECONDS).close()
            self._head_seen_at = time.monotonic()
        except OSError as error:
            if time.monotonic() - self._head_seen_at > _HEAD_LOST_SECONDS:
                # The actors still answer, so they can save.
                self.grace_seconds = min(self.grace_seconds, _GRACE_WITHOUT_HEAD_SECONDS)
                raise LaunchError(
                    f"the head of Ray at {address[0]}:{address[1]} does not answer ({error}), so "
                    "its workers end: start Ray again, and run the same command again to resume"
                ) from error
        self._head_asked_at = time.monotonic()

    def _check_gpus(self, resources: Resources) -> None:
        each, found = resources.gpus_per_worker or 0, self._ray.cluster_resources().get("GPU", 0.0)
        if each > found:
            raise LaunchError(
                f"each worker needs {each:g} GPU, but this Ray cluster has {found:g}: omit "
                "--gpus-per-worker, or add nodes with GPUs first"
            )

    def _hosts(self) -> set[str]:
        nodes = self._ray.nodes()
        return {str(node["NodeManagerHostname"]) for node in nodes if node["Alive"]}

    def _ready(self, calls: Iterable[Any], *, timeout: float) -> list[Any]:
        """Return the calls that have returned, after waiting for all of them at most `timeout`."""
        waiting = list(calls)
        if not waiting:
            return []
        done, _ = self._ray.wait(
            waiting, num_returns=len(waiting), timeout=timeout, fetch_local=False
        )
        return list(done)


def _resources_of_actor(resources: Resources) -> dict[str, float]:
    memory = {"memory": resources.memory_gb * 1e9} if resources.memory_gb else {}
    gpus = resources.gpus_per_worker or 0
    return {"num_cpus": resources.cpus_per_worker, "num_gpus": gpus, **memory}


@contextmanager
def _own_token() -> Iterator[None]:
    """Give a private cluster its own token instead of the one in the home folder."""
    token = Path(_token_folder().name) / "token"
    token.touch(mode=0o600)
    if not token.read_text():
        token.write_text(secrets.token_hex(32))
    # Not RAY_AUTH_MODE: a private cluster asks for a token anyway, and Ray reads the mode once,
    # when it is imported.
    before = os.environ.get(_TOKEN_PATH)
    os.environ[_TOKEN_PATH] = str(token)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TOKEN_PATH]
        else:
            os.environ[_TOKEN_PATH] = before


@cache
def _token_folder() -> tempfile.TemporaryDirectory[str]:
    # One for all private clusters of a process: Ray reads its token once.
    return tempfile.TemporaryDirectory(prefix="ecgopt-ray-")
