"""The worker: claim an item, do it, close it, until nothing is left."""

import logging
import os
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ecgopt.errors import LeaseLost
from ecgopt.tuning.storage import TRANSIENT_ERRORS, Database
from ecgopt.workers import items, presence
from ecgopt.workers.items import Cause, Claim, Kind
from ecgopt.workers.lease import Lease

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


class StopRequested(Exception):
    """The worker was asked to stop: the item has been checkpointed and may be released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEnd:
    """Why an item ended, and its result as plain JSON."""

    cause: Cause
    result: Mapping[str, Any]
    detail: str = ""


class Handler(Protocol):
    """Does one kind of work item."""

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Do the item under its lease.

        Raises:
            LeaseLost: the item belongs to another worker now.
            StopRequested: `stop()` turned true; the state has been saved.
        """

    def give_up(self, claim: Claim, cause: Cause, reason: str) -> None:
        """Close what the item left open elsewhere, before it is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker holds its items."""

    comparison: str
    lease_seconds: float = 60.0
    max_losses: int = 3
    poll_seconds: float = _POLL_SECONDS
    device: str = "cpu"


def new_owner() -> str:
    """Return a name for this worker that no other worker has or had."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


@dataclass(slots=True, kw_only=True)
class Worker:
    """One process's loop over the comparison's work items."""

    database: Database
    handlers: Mapping[Kind, Handler]
    settings: WorkerSettings
    owner: str = field(default_factory=new_owner)
    stop_event: threading.Event = field(default_factory=threading.Event)

    def work(self) -> int:
        """Work until nothing is left or a stop is requested; return the number of items closed."""
        closed = 0
        presence.enter(self.database, self.owner, self.settings.comparison, self.settings.device)
        try:
            while not self._stopping():
                try:
                    step = self._step()
                except TRANSIENT_ERRORS as error:
                    logger.warning("database: %s, trying again", type(error).__name__)
                    step = None
                if step is None:
                    self.stop_event.wait(self.settings.poll_seconds)
                elif step is _FINISHED:
                    break
                else:
                    closed += 1
        finally:
            presence.leave(self.database, self.owner)
        return closed

    def _stopping(self) -> bool:
        return self.stop_event.is_set()

    def _step(self) -> object | None:
        claim = items.claim(
            self.database,
            self.settings.comparison,
            self.owner,
            lease_seconds=self.settings.lease_seconds,
        )
        if claim is not None:
            self._do(claim)
            return claim
        if items.unfinished(self.database, self.settings.comparison) == 0:
            return _FINISHED
        if presence.stop_is_requested(self.database, self.owner):
            self.stop_event.set()
        return None

    def _do(self, claim: Claim) -> None:
        logger.info("%s: begin", claim.key)
        started = time.monotonic()
        lease = Lease(
            self.database,
            claim,
            lease_seconds=self.settings.lease_seconds,
            on_renewal=self._note_renewal,
        )
        try:
            with lease:
                self._close(lease, self._outcome(lease))
        except LeaseLost as lost:
            logger.warning("%s: given up: %s", claim.key, lost)
        except StopRequested:
            items.release(self.database, claim)
            logger.info("%s: released for another worker", claim.key)
        else:
            logger.info("%s: ended after %.1f s", claim.key, time.monotonic() - started)

    def _outcome(self, lease: Lease) -> ItemEnd | str:
        """Return how the item ended, or the text of an error that may not recur elsewhere."""
        claim = lease.claim
        handler = self.handlers[claim.kind]
        if claim.losses >= self.settings.max_losses:
            reason = f"lost {claim.losses} workers without progress; {claim.last_detail}".rstrip(
                "; "
            )
            lease.retrying(lambda: handler.give_up(claim, "set_aside", reason))
            return ItemEnd(cause="set_aside", result={}, detail=reason)
        try:
            return handler.run(lease, self._stopping)
        except (LeaseLost, StopRequested):
            raise
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            reason = str(error)[:500]
            lease.retrying(lambda: handler.give_up(claim, "out_of_memory", reason))
            return ItemEnd(cause="out_of_memory", result={}, detail=reason)
        except Exception:
            logger.exception("%s: failed", claim.key)
            return traceback.format_exc(limit=-6)[-4000:]

    def _close(self, lease: Lease, end: ItemEnd | str) -> None:
        claim = lease.claim
        if isinstance(end, str):
            lease.retrying(lambda: items.release(self.database, claim, lost=True, detail=end))
            return
        lease.retrying(
            lambda: items.finish(
                self.database, claim, cause=end.cause, result=end.result, detail=end.detail
            )
        )

    def _note_renewal(self, claim: Claim, progress: int) -> None:
        presence.note(self.database, self.owner, item=claim.key, epoch=progress)
        if presence.stop_is_requested(self.database, self.owner):
            self.stop_event.set()


_FINISHED = object()
