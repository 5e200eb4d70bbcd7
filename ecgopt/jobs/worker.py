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
from ecgopt.errors import DatabaseUnavailable, LeaseLost, MachineError, StorageError
from ecgopt.jobs.faults import Fault, fault_of, is_sticky
from ecgopt.jobs.job import ItemEnd, Job, PausedAtRung, StopRequested
from ecgopt.queue import heartbeats, items
from ecgopt.queue.items import Claim
from ecgopt.queue.lease import Lease

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_SLOWEST_POLL = 10.0
"""The longest pause of a worker that waits for work, in poll intervals."""
_LONGER = 6.0
"""Each pause after a failure is so many times the one before."""
_FAILED_ITEMS_TO_STOP = 3
"""Different items that fail with one worker, one after another, before it stops."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Failed:
    """The item's job failed with this worker."""

    fault: Fault
    reason: str
    """What failed; its last line is the error."""
    is_sticky: bool = False
    """Whether this process can do nothing more on its device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker holds its items."""

    comparison: str
    lease_seconds: float = 60.0
    stall_seconds: float = float("inf")
    """Without progress for so long, an item is left to others: this worker hangs."""
    max_failures: int = 3
    retry_seconds: float = 20.0
    """From an item's first failure to its next attempt; each further pause is longer."""
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
    _failed: list[str] = field(default_factory=list)
    """Keys of the items that failed with this worker since one ended well."""

    def work(self) -> int:
        """Work until nothing is left or a stop is requested; return the number of items closed.

        Raises:
            StorageError: the user must fix the database first.
            MachineError: different items failed with this worker, one after another.
        """
        closed = idle = 0
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
                    idle = 0
                    closed += self._do(claim)
                    self.after_item()
                elif self._patiently(self._is_finished):
                    logger.info("nothing is left to do in %s", settings.comparison)
                    self.at_end()
                    break
                else:
                    # Hundreds of workers may wait for one pre-training.
                    self.stop_event.wait(settings.poll_seconds * min(_SLOWEST_POLL, 1.5**idle))
                    idle += 1
        except MachineError as error:
            reason = str(error)
            self._patiently(lambda: heartbeats.leave_failed(self.database, self.owner, reason))
            raise
        finally:
            with suppress(StorageError):  # a row of a worker that has left is only untidy
                heartbeats.leave(self.database, [self.owner])
        return closed

    def _stopping(self) -> bool:
        return self.stop_event.is_set()

    def _patiently(self, operation: Callable[[], Result]) -> Result | None:
        """Do what is bound to no lease, until the database answers or a stop is requested."""

        def wait(_error: DatabaseUnavailable) -> bool:
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
            if not lease.has_stalled:
                self._patiently(lambda: items.release_late(self.database, claim))
            return False

    def _end(self, lease: Lease, started: float) -> bool:
        claim = lease.claim
        try:
            end = self._outcome(lease)
        except PausedAtRung as paused:
            rung = paused.rung
            lease.retrying(lambda: items.release(self.database, claim, rung=rung))
            logger.info("%s: waits at rung %d for its bracket", claim.key, rung)
            return False
        except StopRequested:
            lease.retrying(lambda: items.release(self.database, claim))
            logger.info("%s: released for another worker", claim.key)
            return False
        except DatabaseUnavailable as error:
            # The item is not at fault: its next owner continues from its last checkpoint.
            logger.warning("%s: %s; given back", claim.key, error)
            lease.retrying(lambda: items.release(self.database, claim))
            return False
        if end is None:
            lease.retrying(lambda: items.release(self.database, claim))
            logger.warning("%s: waits until what it needs is made again", claim.key)
            return False
        if isinstance(end, _Failed):
            self._give_back(lease, end)
            return False
        lease.retrying(
            lambda: items.finish(
                self.database, claim, cause=end.cause, result=end.result, detail=end.detail
            )
        )
        if end.cause.sets_aside:
            logger.error("%s: set aside (%s): %s", claim.key, end.cause, end.detail)
        else:
            self._failed.clear()
            logger.info("%s: %s after %.1f s", claim.key, end.cause, time.monotonic() - started)
        return True

    def _give_back(self, lease: Lease, failed: _Failed) -> None:
        """Give the item back after a failure, and rest: the fault may pass.

        Raises:
            MachineError: this worker failed with different items, one after another.
        """
        claim, settings = lease.claim, self.settings
        pause = settings.retry_seconds * _LONGER**claim.failures
        lease.retrying(
            lambda: items.release_failed(self.database, claim, failed.reason, pause_seconds=pause)
        )
        self._failed.append(claim.key)
        n_items, n_failures = len(set(self._failed)), len(self._failed)
        if n_items >= _FAILED_ITEMS_TO_STOP or n_failures > n_items + 1 or failed.is_sticky:
            last = failed.reason.strip().splitlines()[-1]
            raise MachineError(
                f"a worker on {socket.gethostname()} ({settings.device}) stopped: {n_failures} "
                f"failures one after another and no item done; the last, {claim.key}: {last}"
            )
        # Shorter than the item's own pause, so that the next attempt is another item, if there is.
        self.stop_event.wait(0.5 * settings.retry_seconds * _LONGER ** (n_items - 1))

    def _outcome(self, lease: Lease) -> ItemEnd | _Failed | None:
        """Return how the item ended or how this worker failed with it; None: it must wait."""
        claim = lease.claim
        if claim.failures >= self.settings.max_failures:
            reason = f"lost {claim.failures} workers without progress; {claim.causes[-1]}"
            return self._set_aside(lease, Cause.SET_ASIDE, reason)
        try:
            return self.jobs[claim.kind].run(lease, self._stopping)
        except (LeaseLost, StopRequested, StorageError):
            raise
        except Exception as error:
            fault = fault_of(error)
            if fault is Fault.MEMORY:
                # The frames of the traceback still hold the tensors that filled the memory.
                traceback.clear_frames(error.__traceback__)
                torch.cuda.empty_cache()
                reason = f"out of memory: {str(error)[:500]}"
            else:
                logger.exception("%s: failed", claim.key)
                reason = traceback.format_exc(limit=-6)[-4000:]
            return self._judged(lease, _Failed(fault, reason, is_sticky(error)))

    def _judged(self, lease: Lease, failed: _Failed) -> ItemEnd | _Failed | None:
        """Return the failure, or that it sets the item aside: a fault of its own, or the last.

        None: what the item needs is gone for good, and is made again first.
        """
        if failed.fault is Fault.ITEM:
            return self._set_aside(lease, Cause.ERROR, failed.reason)
        if lease.claim.failures + 1 < self.settings.max_failures:
            return failed
        match failed.fault:
            case Fault.MACHINE:
                job = self.jobs[lease.claim.kind]
                if lease.retrying(lambda: job.reopen_missing(lease.claim)):
                    return None
                # Nothing is closed elsewhere: a trial of the budget is not spent, and `ecgopt study
                # retry` continues it.
                return ItemEnd(cause=Cause.MACHINE, result={}, detail=failed.reason)
            case Fault.MEMORY:
                return self._set_aside(lease, Cause.OUT_OF_MEMORY, failed.reason)
            case _:
                return self._set_aside(lease, Cause.ERROR, failed.reason)

    def _set_aside(self, lease: Lease, cause: Cause, reason: str) -> ItemEnd:
        self.jobs[lease.claim.kind].give_up(lease, cause, reason)
        return ItemEnd(cause=cause, result={}, detail=reason)

    def _say(self, item: str | None, epoch: int) -> None:
        if heartbeats.note(self.database, self.owner, item=item, epoch=epoch):
            self.stop_event.set()
