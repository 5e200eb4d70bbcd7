"""How long a statement may take: a client-side deadline that a paused server cannot defeat.

A server that stands still answers nothing, and its kernel goes on acknowledging packets: neither
statement_timeout (the server's own) nor tcp_user_timeout nor a ping ends the wait. Without a
deadline on this side a worker would hang in a write and let it through long after its lease.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import psycopg

from ecgopt.database.engine import STATEMENT_SECONDS

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen

_LEAST_SECONDS = 0.05

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def answers_until(deadline: float) -> Iterator[None]:
    """Within the block, wait for this thread's database no longer than `deadline`.

    Args:
        deadline: Moment on `time.monotonic`.
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


class PatientConnection(psycopg.Connection[tuple[object, ...]]):
    """A PostgreSQL connection that closes itself when an answer takes too long.

    The server undoes the open transaction when it wakes up and finds the connection closed.
    """

    def wait(self, gen: "PQGen[RV]", interval: float = 0.1, timeout: float | None = None) -> "RV":
        """Run the generator to its end, as psycopg does, but not beyond the deadline.

        Raises:
            psycopg.OperationalError: the answer did not come in time; the connection is closed.
        """
        allowed = STATEMENT_SECONDS if timeout is None else timeout
        if (deadline := _deadline.get()) is not None:
            allowed = max(_LEAST_SECONDS, min(allowed, deadline - time.monotonic()))
        try:
            return super().wait(gen, interval=interval, timeout=allowed)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"no answer from the database within {allowed:.1f} s"
            ) from None
