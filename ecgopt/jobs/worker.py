"""The worker: claim an item, do it, close it, until nothing is left."""

import logging
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from ecgopt.causes import Cause
from ecgopt.database.engine import Database
from ecgopt.database.retry import retrying
from ecgopt.errors import DatabaseUnavailable, LeaseLost, StorageError
from ecgopt.jobs.job import ItemEnd, Job, StopRequested
from ecgopt.queue import heartbeats, items
from ecgopt.queue.items import Claim
from ecgopt.queue.lease import Lease

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Failed:
    """The item's job failed in a way that may not recur with another worker."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker holds its items."""

    comparison: str
    lease_seconds: float = 60.0
    stall_seconds: float = float("inf")
    """Without progress for so long, an item is left to others: this worker hangs."""
    max_failures: int = 3
    poll_seconds: float = _POLL_SECONDS
    device: str = "cpu"


def new_owner() -> str:
    """Return a name for this worker that no other worker has or had."""
    return f"{socket.gethostname()[:60]}:{uuid.uuid4().hex[:8]}"


@dataclass(slots=True, kw_only=True)
class Worker:
    """One process's loop over the comparison's work items."""

    database: Database
    jobs: Mapping[str, Job]
    """What does each kind of work."""
    settings: WorkerSettings
    owner: str = field(default_factory=new_owner)
    stop_event: threading.Event = field(default_factory=threading.Event)
    after_item: Callable[[], None] = field(default=lambda: None)
    """Called between two items; it must not raise."""
    at_end: Callable[[], None] = field(default=lambda: None)
    """Called when nothing is left to do; it must not raise."""

    def work(self) -> int:
        """Work until nothing is left or a stop is requested; return the number of items closed.

        Raises:
            StorageError: the user must fix the database first.
        """
        closed = 0
        settings = self.settings
        self._patiently(
            lambda: heartbeats.enter(
                self.database, self.owner, settings.comparison, settings.device
            )
        )
        try:
            while not self._stopping():
                claim = self._patiently(self._claim)
                if claim is not None:
                    closed += self._do(claim)
                    self.after_item()
                elif self._patiently(self._is_finished):
                    logger.info("nothing is left to do in %s", settings.comparison)
                    self.at_end()
                    break
                else:
                    self.stop_event.wait(settings.poll_seconds)
        finally:
            with suppress(StorageError):  # a row of a worker that has left is only untidy
                heartbeats.leave(self.database, [self.owner])
        return closed

    def _stopping(self) -> bool:
        return self.stop_event.is_set()

    def _patiently(self, operation: Callable[[], Result]) -> Result | None:
        """Do what is bound to no lease, until the database answers or a stop is requested."""

        def wait() -> bool:
            return not self.stop_event.wait(self.settings.poll_seconds)

        try:
            return retrying(operation, wait=wait)
        except DatabaseUnavailable:
            return None  # a stop was requested

    def _claim(self) -> Claim | None:
        settings = self.settings
        claim = items.claim(
            self.database, settings.comparison, self.owner, lease_seconds=settings.lease_seconds
        )
        self._say(claim.key if claim is not None else None, 0)
        return claim

    def _is_finished(self) -> bool:
        return items.unfinished(self.database, self.settings.comparison) == 0

    def _do(self, claim: Claim) -> bool:
        """Do the item under its lease; return whether it was closed."""
        logger.info("%s: begin", claim.key)
        started = time.monotonic()
        lease = Lease(
            self.database,
            claim,
            lease_seconds=self.settings.lease_seconds,
            stall_seconds=self.settings.stall_seconds,
            on_renewal=lambda held, progress: self._say(held.key, progress),
        )
        try:
            with lease:
                return self._end(lease, started)
        except LeaseLost as lost:
            logger.warning("%s: given up: %s", claim.key, lost)
            return False

    def _end(self, lease: Lease, started: float) -> bool:
        claim = lease.claim
        try:
            end = self._outcome(lease)
        except StopRequested:
            lease.retrying(lambda: items.release(self.database, claim))
            logger.info("%s: released for another worker", claim.key)
            return False
        except DatabaseUnavailable as error:
            # The item is not at fault: its next owner continues from its last checkpoint.
            logger.warning("%s: %s; given back", claim.key, error)
            lease.retrying(lambda: items.release(self.database, claim))
            return False
        if isinstance(end, _Failed):
            lease.retrying(lambda: items.release(self.database, claim, failure=end.reason))
            return False
        lease.retrying(
            lambda: items.finish(
                self.database, claim, cause=end.cause, result=end.result, detail=end.detail
            )
        )
        logger.info("%s: %s after %.1f s", claim.key, end.cause, time.monotonic() - started)
        return True

    def _outcome(self, lease: Lease) -> ItemEnd | _Failed:
        """Return how the item ended, or that this worker failed with it."""
        claim = lease.claim
        if claim.failures >= self.settings.max_failures:
            reason = f"lost {claim.failures} workers without progress; {claim.causes[-1]}"
            return self._set_aside(lease, Cause.SET_ASIDE, reason)
        try:
            return self.jobs[claim.kind].run(lease, self._stopping)
        except (LeaseLost, StopRequested, StorageError):
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            # The frames of the traceback still hold the tensors that filled the memory.
            traceback.clear_frames(error.__traceback__)
            torch.cuda.empty_cache()
            reason = f"out of memory: {str(error)[:500]}"
            # The memory may have been another trial's on the same device: others may try first.
            if claim.failures + 1 < self.settings.max_failures:
                return _Failed(reason)
            return self._set_aside(lease, Cause.OUT_OF_MEMORY, reason)
        except Exception:
            logger.exception("%s: failed", claim.key)
            return _Failed(traceback.format_exc(limit=-6)[-4000:])

    def _set_aside(self, lease: Lease, cause: Cause, reason: str) -> ItemEnd:
        self.jobs[lease.claim.kind].give_up(lease, cause, reason)
        return ItemEnd(cause=cause, result={}, detail=reason)

    def _say(self, item: str | None, epoch: int) -> None:
        if heartbeats.note(self.database, self.owner, item=item, epoch=epoch):
            self.stop_event.set()
