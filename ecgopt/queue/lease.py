"""Keeping a claimed work item: a thread that renews, and a clock that stops a cut-off worker."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection

from ecgopt.database.engine import Database
from ecgopt.database.retry import retrying
from ecgopt.database.timeouts import answers_until
from ecgopt.errors import DatabaseUnavailable, LeaseLost, StorageError
from ecgopt.queue import items
from ecgopt.queue.items import Claim

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_RENEWALS_PER_LEASE = 3
_RETRY_SECONDS = 0.5
_SAFETY_SHARE = 0.1
"""Share of the lease that is given up for the way of a renewal to the database."""


class Lease:
    """One claim held through its context: renewed in a thread, void by our own clock in time.

    A database that is paused cannot tell anyone that a lease has ended, so a worker that cannot
    renew must stop writing by its own monotonic clock before the lease ends on the database's.
    """

    def __init__(
        self,
        database: Database,
        claim: Claim,
        *,
        lease_seconds: float,
        stall_seconds: float = float("inf"),
        on_renewal: Callable[[Claim, int], None] | None = None,
    ) -> None:
        """Begin with the lease just claimed; entering the context starts the renewals.

        Args:
            database: Where the work item is.
            claim: What was claimed just now.
            lease_seconds: How long a renewal lasts.
            stall_seconds: Without progress for so long, the renewals end: the training hangs.
            on_renewal: Called with claim and progress after each renewal by the thread.
        """
        self.claim = claim
        self._progress = 0
        self._database = database
        self._lease_seconds = lease_seconds
        self._stall_seconds = stall_seconds
        self._on_renewal = on_renewal
        self._extend(time.monotonic())
        self._advanced_at = time.monotonic()
        self.has_stalled = False
        """Whether the renewals ended because the training hangs."""
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()

    @property
    def progress(self) -> int:
        """Epochs done; setting it says that the training does not hang."""
        return self._progress

    @progress.setter
    def progress(self, epochs_done: int) -> None:
        self._progress = epochs_done
        self._advanced_at = time.monotonic()

    def check(self) -> None:
        """Raise `LeaseLost` if the item may belong to another worker by now; costs nothing."""
        if self._lost.is_set() or time.monotonic() >= self._deadline:
            raise LeaseLost(f"the lease of work item {self.claim.key!r} has ended")

    def assert_held(self) -> None:
        """Renew now, so that a following write comes from the owner; retried while it may.

        Raises:
            LeaseLost: another worker owns the item, or the database stayed away too long.
        """
        self.retrying(lambda: self._renew(None))

    def write(self, operation: Callable[[Connection], None]) -> None:
        """Write in one transaction with a renewal, so that a void owner writes nothing at all.

        Raises:
            LeaseLost: another worker owns the item, or the database stayed away too long.
        """
        self.retrying(lambda: self._renew(operation))

    def retrying(self, operation: Callable[[], Result]) -> Result:
        """Do a repeatable database operation, again after transient errors while the lease lasts.

        No answer is waited for beyond the lease's end.

        Raises:
            LeaseLost: the lease ended before the operation succeeded.
            StorageError: the operation cannot succeed until the user fixes the database.
        """

        def attempt() -> Result:
            self.check()
            with answers_until(self._deadline):
                return operation()

        def wait(_error: DatabaseUnavailable) -> bool:
            self._closed.wait(_RETRY_SECONDS)
            return True

        return retrying(attempt, wait=wait)

    def _renew(self, operation: Callable[[Connection], None] | None) -> None:
        asked_at = time.monotonic()
        items.renew(
            self._database,
            self.claim,
            lease_seconds=self._lease_seconds,
            progress=self._progress,
            also=operation,
        )
        self._extend(asked_at)

    def _extend(self, asked_at: float) -> None:
        self._deadline = asked_at + self._lease_seconds * (1 - _SAFETY_SHARE)

    def _keep(self) -> None:
        pause = self._lease_seconds / _RENEWALS_PER_LEASE
        while not self._closed.wait(pause):
            if time.monotonic() - self._advanced_at > self._stall_seconds:
                logger.error("%s: no progress, so the lease is left to end", self.claim.key)
                self.has_stalled = True
                self._lost.set()
                return
            try:
                with answers_until(self._deadline):
                    self._renew(None)
                    if self._on_renewal is not None:
                        self._on_renewal(self.claim, self._progress)
                pause = self._lease_seconds / _RENEWALS_PER_LEASE
            except LeaseLost:
                self._lost.set()
                return
            except DatabaseUnavailable as error:
                logger.warning("lease renewal: %s; trying again", error)
                pause = _RETRY_SECONDS
            except StorageError as error:
                # The worker's own thread meets the same error and ends the worker.
                logger.error("lease renewal: %s", error)
                self._lost.set()
                return
