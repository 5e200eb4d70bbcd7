"""Keeping a claimed work item: a thread that renews, and a clock that stops a cut-off worker."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ecgopt.errors import LeaseLost
from ecgopt.tuning.storage import TRANSIENT_ERRORS, Database
from ecgopt.workers import items
from ecgopt.workers.items import Claim

logger = logging.getLogger(__name__)

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
        clock: Callable[[], float] = time.monotonic,
        on_renewal: Callable[[Claim, int], None] | None = None,
    ) -> None:
        """Begin with the lease just claimed; entering the context starts the renewals."""
        self.claim = claim
        self.progress = 0
        self._database = database
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._on_renewal = on_renewal
        self._deadline = clock() + lease_seconds * (1 - _SAFETY_SHARE)
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

    def check(self) -> None:
        """Raise `LeaseLost` if the item may belong to another worker by now; costs nothing."""
        if self._lost.is_set() or self._clock() >= self._deadline:
            raise LeaseLost(f"the lease of work item {self.claim.key!r} has ended")

    def assert_held(self) -> None:
        """Renew now, so that a following write comes from the owner; retried while it may.

        Raises:
            LeaseLost: another worker owns the item, or the database stayed away too long.
        """
        self.retrying(self._renew)

    def retrying(self, operation: Callable[[], object]) -> None:
        """Do a repeatable database operation, again after transient errors while the lease lasts.

        Raises:
            LeaseLost: the lease ended before the operation succeeded.
        """
        while True:
            self.check()
            try:
                operation()
            except TRANSIENT_ERRORS as error:
                logger.warning("database: %s, trying again", type(error).__name__)
                self._closed.wait(_RETRY_SECONDS)
            else:
                return

    def _renew(self) -> None:
        asked_at = self._clock()
        items.renew(
            self._database,
            self.claim,
            lease_seconds=self._lease_seconds,
            progress=self.progress,
        )
        self._deadline = asked_at + self._lease_seconds * (1 - _SAFETY_SHARE)
        if self._on_renewal is not None:
            self._on_renewal(self.claim, self.progress)

    def _keep(self) -> None:
        pause = self._lease_seconds / _RENEWALS_PER_LEASE
        while not self._closed.wait(pause):
            try:
                self._renew()
                pause = self._lease_seconds / _RENEWALS_PER_LEASE
            except LeaseLost:
                self._lost.set()
                return
            except TRANSIENT_ERRORS as error:
                logger.warning("lease renewal: %s, trying again", type(error).__name__)
                pause = _RETRY_SECONDS
