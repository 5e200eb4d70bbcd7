"""Workers as Ray actors, on a cluster that runs already or on a private one on this machine.

An actor that dies is restarted by Ray, elsewhere if its node is gone, and works on from what the
database and the checkpoints say. Ray takes SIGTERM for a crash, so a clean stop is a method call.
"""

import logging
import math
import os
import secrets
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from pydantic import SecretStr

from ecgopt.errors import LaunchError, UserError
from ecgopt.launchers.remote_worker import Posting, refuse_shared_sqlite
from ecgopt.launchers.resources import RayPlacement

logger = logging.getLogger(__name__)

_FOREVER = -1
"""With bounded retries they are spent on refused connections before Ray declares a node dead."""

_TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

_ANSWER_SECONDS = 10.0
"""An actor that lives answers a call within this time, whatever its other thread computes."""


class WorkerActor:
    """One worker; Ray runs `work` in one thread and `ask_to_stop` in another."""

    def __init__(self, posting: Posting, url: SecretStr) -> None:
        self._posting = posting
        self._url = url
        self._stop = threading.Event()

    def work(self) -> int:
        """Work until nothing is left or a stop is asked for; return how many items were closed."""
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        return self._posting.run(self._stop, self._url.get_secret_value())

    def ask_to_stop(self) -> None:
        """Let `work` finish its epoch, save, give its item back and return."""
        self._stop.set()


@dataclass(slots=True, kw_only=True)
class RayWorkers:
    """A number of workers on one Ray cluster; use as a context."""

    posting: Posting
    url: SecretStr
    placement: RayPlacement
    n_workers: int
    grace_seconds: float = 60.0
    _working: dict[Any, Any] = field(default_factory=dict)
    """The actor of each call of `work` that has not returned."""
    _resources: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "RayWorkers":
        with ExitStack() as connection:
            self._connect(connection)
            refuse_shared_sqlite(self.url.get_secret_value(), cluster_hosts())
            self._check_gpus()
            actor = ray.remote(WorkerActor).options(
                num_cpus=self.placement.cpus_per_worker,
                num_gpus=self.placement.gpus_per_worker,
                max_restarts=_FOREVER,
                max_task_retries=_FOREVER,
                max_concurrency=2,
                scheduling_strategy="SPREAD",
            )
            for _ in range(self.n_workers):
                handle: Any = actor.remote(self.posting, self.url)
                self._working[handle.work.remote()] = handle
            self._resources = connection.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._resources:
            self.stop()

    def tend(self) -> bool:
        """Return whether any worker is at work or waits for a place.

        Raises:
            LaunchError: a worker could not work where Ray put it.
        """
        for call in _ready(self._working, timeout=0.0):
            del self._working[call]
            try:
                ray.get(call)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise LaunchError(f"a worker could not begin: {error.cause}") from None
                raise
        return bool(self._working)

    def stop(self) -> None:
        """Ask the workers to checkpoint and leave; kill those that do not within the grace time."""
        actors = list(self._working.values())
        asked = {actor.ask_to_stop.remote(): call for call, actor in self._working.items()}
        # One that waits for a place answers no call, and nothing of it needs saving.
        leaving = [asked[answer] for answer in _ready(asked, timeout=_ANSWER_SECONDS)]
        late = len(leaving) - len(_ready(leaving, timeout=self.grace_seconds))
        if late:
            logger.warning("%d workers did not stop in time; their leases run out", late)
        for actor in actors:
            ray.kill(actor)
        self._working.clear()

    def _connect(self, connection: ExitStack) -> None:
        # Ray reports its usage to its makers unless told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        private: dict[str, Any] = {}
        if self.placement.address is None:
            connection.enter_context(_own_token())
            cpus = math.ceil(self.n_workers * self.placement.cpus_per_worker)
            private = {"num_cpus": max(1, cpus), "include_dashboard": False}
        try:
            # Without "local", Ray would join whatever cluster it finds traces of.
            ray.init(
                address=self.placement.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **private,
            )
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise LaunchError(
                f"Ray at {self.placement.address or 'this machine'} must answer, but: "
                f"{str(error).strip().splitlines()[0][:300]}; the launcher must run on one of the "
                f"cluster's nodes, with its token where {_TOKEN_PATH} says"
            ) from error
        connection.callback(ray.shutdown)

    def _check_gpus(self) -> None:
        each, found = self.placement.gpus_per_worker, ray.cluster_resources().get("GPU", 0.0)
        if each > found:
            raise LaunchError(
                f"each worker shall have {each:g} GPU, but this Ray cluster has {found:g}: leave "
                "out --gpus-per-worker, or add nodes with GPUs first"
            )


def cluster_hosts() -> set[str]:
    """Return the host names of the connected cluster's nodes."""
    return {str(node["NodeManagerHostname"]) for node in ray.nodes() if node["Alive"]}


def _ready(calls: Iterable[Any], *, timeout: float) -> list[Any]:
    """Return the calls that have returned, after waiting for all of them at most `timeout`."""
    waiting = list(calls)
    if not waiting:
        return []
    done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=timeout, fetch_local=False)
    return list(done)


@contextmanager
def _own_token() -> Iterator[None]:
    """Give a private cluster a token of its own instead of the one in the home folder."""
    with tempfile.TemporaryDirectory(prefix="ecgopt-ray-") as folder:
        token = Path(folder) / "token"
        token.touch(mode=0o600)
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
