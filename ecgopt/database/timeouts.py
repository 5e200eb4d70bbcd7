"""How long a statement may take: a client-side deadline that a paused server cannot defeat.

A server that stands still answers nothing, and its kernel goes on acknowledging packets: neither
statement_timeout (the server's own) nor tcp_user_timeout nor a ping ends the wait. Without a
deadline on this side a worker would hang in a write and let it through long after its lease.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STATEMENT_SECONDS = 20.0
"""Longest wait for one answer. Above it a statement is given up and its transaction undone."""

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


def allowed_seconds(asked: float | None) -> float:
    """Return how long this thread may wait for the database's next answer.

    Args:
        asked: Seconds that the caller allows; None means STATEMENT_SECONDS.
    """
    allowed = STATEMENT_SECONDS if asked is None else asked
    if (deadline := _deadline.get()) is not None:
        allowed = max(_LEAST_SECONDS, min(allowed, deadline - time.monotonic()))
    return allowed
