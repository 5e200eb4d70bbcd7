"""Heartbeats of workers: one row each, which people read and by which they stop a worker."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from ecgopt.database.engine import Database
from ecgopt.database.tables import worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """One worker as it last described itself."""

    owner: str
    host: str
    pid: int
    device: str
    item: str | None
    epoch: int
    seen_seconds_ago: float
    state: str
    reason: str
    """Why a failed worker stopped."""


def enter(database: Database, owner: str, comparison: str, device: str) -> None:
    """Add the worker's row.

    Args:
        database: Where the row is added.
        owner: Name of the worker.
        comparison: Name of the comparison that it works on.
        device: Where it trains, for people.
    """
    with database.transaction() as connection:
        connection.execute(delete(worker).where(worker.c.owner == owner))
        connection.execute(
            insert(worker).values(
                owner=owner,
                comparison=comparison,
                host=socket.gethostname()[:120],
                pid=os.getpid(),
                device=device,
                item=None,
                epoch=0,
                started_at=database.now,
                seen_at=database.now,
                state="running",
            )
        )


def note(database: Database, owner: str, *, item: str | None, epoch: int) -> bool:
    """Write a heartbeat and return whether a stop of the worker was requested.

    Args:
        database: Where the worker's row is.
        owner: Name of the worker.
        item: Key of the item that it holds; None while it looks for one.
        epoch: Epochs done of that item.
    """
    with database.transaction() as connection:
        connection.execute(
            update(worker)
            .where(worker.c.owner == owner)
            .values(item=item, epoch=epoch, seen_at=database.now)
        )
        query = select(worker.c.state).where(worker.c.owner == owner)
        return connection.execute(query).scalar() == "stopping"


def leave(database: Database, owners: Sequence[str]) -> None:
    """Mark the workers as gone; one that has said why it failed keeps that."""
    with database.transaction() as connection:
        connection.execute(
            update(worker)
            .where(worker.c.owner.in_(list(owners)), worker.c.state != "failed")
            .values(state="gone", item=None, seen_at=database.now)
        )


def leave_failed(database: Database, owner: str, reason: str) -> None:
    """Mark the worker as stopped by its own errors, with the reason."""
    with database.transaction() as connection:
        connection.execute(
            update(worker)
            .where(worker.c.owner == owner)
            .values(state="failed", item=None, seen_at=database.now, reason=reason)
        )


def last_seen(database: Database, owners: Sequence[str]) -> dict[str, float]:
    """Return when each worker was last heard of, in seconds on the database's clock."""
    query = select(worker.c.owner, worker.c.seen_at).where(worker.c.owner.in_(list(owners)))
    with database.transaction() as connection:
        return {row.owner: float(row.seen_at) for row in connection.execute(query)}


def count_at_work(database: Database, comparison: str, *, within_seconds: float) -> int:
    """Return how many workers gave a sign of life so lately, and hold an item or just closed one.

    A worker's row names its last item until it looks for another in vain.

    Args:
        database: Where the rows are.
        comparison: Name of the comparison.
        within_seconds: Age of the oldest heartbeat that counts.
    """
    query = select(func.count()).where(
        worker.c.comparison == comparison,
        worker.c.state.in_(("running", "stopping")),
        worker.c.item.is_not(None),
        worker.c.seen_at > database.now - within_seconds,
    )
    with database.transaction() as connection:
        return int(connection.execute(query).scalar_one())


def request_stop(database: Database, comparison: str | None, host: str | None) -> int:
    """Ask running workers to stop; return how many.

    Args:
        database: Where the rows are.
        comparison: Only workers of this comparison; None for all.
        host: Only workers of this host; None for all.
    """
    condition = worker.c.state == "running"
    if comparison is not None:
        condition &= worker.c.comparison == comparison
    if host is not None:
        condition &= worker.c.host == host
    with database.transaction() as connection:
        return int(
            connection.execute(update(worker).where(condition).values(state="stopping")).rowcount
        )


def workers_seen(database: Database, comparison: str) -> list[WorkerSeen]:
    """Return the comparison's workers that have not left."""
    query = select(worker, (database.now - worker.c.seen_at).label("age")).where(
        worker.c.comparison == comparison, worker.c.state != "gone"
    )
    with database.transaction() as connection:
        return [
            WorkerSeen(
                owner=row.owner,
                host=row.host,
                pid=row.pid,
                device=row.device,
                item=row.item,
                epoch=row.epoch,
                seen_seconds_ago=float(row.age),
                state=row.state,
                reason=row.reason or "",
            )
            for row in connection.execute(query)
        ]
