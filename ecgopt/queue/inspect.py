"""Reads the queue for people: leases, failures and items that were set aside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import failure, work_item
from ecgopt.queue.items import behind_in_bracket


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    """A work item that a worker holds."""

    item: str
    owner: str
    epochs_done: int
    """At the last renewal."""
    seconds_held: float
    seconds_left: float
    """Until the lease ends unless it is renewed; negative: another worker may take the item."""
    failures: int
    """Workers that this item lost before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSeen:
    """A worker that lost an item."""

    item: str
    owner: str
    cause: str
    seconds_ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An item that no worker takes again."""

    item: str
    cause: str
    detail: str

    @property
    def reason(self) -> str:
        """The last line of the detail, which names the error."""
        return (self.detail.strip().splitlines() or [self.cause])[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedSeen:
    """An item that paused at a rung and that no worker holds."""

    item: str
    group: str
    rung: int
    n_behind: int
    """Open items of its bracket that have yet to come to the rung. At 0 its bracket is decided, and
    the next worker that is free continues or ends the item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSeen:
    """Leases and paused items by item, failures with the newest first, and items set aside."""

    leases: Sequence[LeaseSeen]
    paused: Sequence[PausedSeen]
    failures: Sequence[FailureSeen]
    set_aside: Sequence[SetAside]


def inspect_queue(database: Database, comparison: str) -> QueueSeen:
    """Return a comparison's leases, paused items, failures and items that were set aside."""
    with database.transaction() as connection:
        return QueueSeen(
            leases=_leases(connection, database, comparison),
            paused=paused_items(connection, comparison),
            failures=_failures(connection, database, comparison),
            set_aside=_set_aside(connection, comparison),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """The work items of one kind in one state."""

    kind: str
    state: str
    n: int
    failures: int
    """Workers that these items lost."""
    seconds_since_first_claim: float | None
    """On the database's clock; None where none was claimed."""
    mean_seconds: float | None
    """From the last claim to the end; None where none has ended."""


def count_states(database: Database, comparison: str) -> list[StateCount]:
    """Return the comparison's work items, counted by kind and state."""
    query = (
        select(
            work_item.c.kind,
            work_item.c.state,
            func.count().label("n"),
            func.sum(work_item.c.total_failures).label("failures"),
            (database.now - func.min(work_item.c.claimed_at)).label("since"),
            func.avg(work_item.c.finished_at - work_item.c.claimed_at).label("mean_seconds"),
        )
        .where(work_item.c.comparison == comparison)
        .group_by(work_item.c.kind, work_item.c.state)
    )
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    return [
        StateCount(
            kind=row.kind,
            state=row.state,
            n=row.n,
            failures=int(row.failures),
            seconds_since_first_claim=float(row.since) if row.since is not None else None,
            mean_seconds=float(row.mean_seconds) if row.mean_seconds is not None else None,
        )
        for row in rows
    ]


def keys_held(database: Database, connection: Connection, comparison: str) -> list[str]:
    """Return the keys of the comparison's items whose lease has not ended.

    Args:
        database: Whose clock is used.
        connection: With a transaction of its own.
        comparison: Name of the comparison.
    """
    query = select(work_item.c.key).where(
        work_item.c.comparison == comparison,
        work_item.c.state == "held",
        work_item.c.lease_until >= database.now,
    )
    return list(connection.execute(query).scalars())


def finals_done(connection: Connection, comparison: str) -> dict[str, str]:
    """Return how many final fits are done and when the latest was, as a text by item group."""
    query = (
        select(work_item.c.item_group, func.count(), func.max(work_item.c.finished_at))
        .where(
            work_item.c.comparison == comparison,
            work_item.c.kind == "final",
            work_item.c.state == "done",
        )
        .group_by(work_item.c.item_group)
    )
    return {group: f"{n}@{latest}" for group, n, latest in connection.execute(query)}


def first_failure(database: Database, comparison: str, groups: Collection[str]) -> SetAside | None:
    """Return the first item of these groups that was set aside; None where none was."""
    query = (
        select(work_item.c.key, work_item.c.cause, work_item.c.detail)
        .where(
            work_item.c.comparison == comparison,
            work_item.c.state == "set_aside",
            work_item.c.item_group.in_(list(groups)),
        )
        .order_by(work_item.c.finished_at, work_item.c.id)
        .limit(1)
    )
    with database.transaction() as connection:
        row = connection.execute(query).first()
    return None if row is None else SetAside(item=row.key, cause=row.cause, detail=row.detail or "")


def paused_items(connection: Connection, comparison: str) -> list[PausedSeen]:
    """Return the comparison's items that paused at a rung and that no worker holds."""
    behind = behind_in_bracket(work_item.alias("of_the_bracket"))
    n_behind = behind.with_only_columns(func.count()).scalar_subquery().label("behind")
    query = (
        select(work_item.c.key, work_item.c.item_group, work_item.c.rung, n_behind)
        .where(
            work_item.c.comparison == comparison,
            work_item.c.state == "free",
            work_item.c.rung > 0,
        )
        .order_by(work_item.c.key)
    )
    return [
        PausedSeen(item=row.key, group=row.item_group, rung=row.rung, n_behind=row.behind)
        for row in connection.execute(query)
    ]


def _leases(connection: Connection, database: Database, comparison: str) -> list[LeaseSeen]:
    query = (
        select(
            work_item,
            (database.now - work_item.c.claimed_at).label("held"),
            (work_item.c.lease_until - database.now).label("left"),
        )
        .where(work_item.c.comparison == comparison, work_item.c.state == "held")
        .order_by(work_item.c.key)
    )
    return [
        LeaseSeen(
            item=row.key,
            owner=row.owner,
            epochs_done=row.progress,
            seconds_held=float(row.held),
            seconds_left=float(row.left),
            failures=row.total_failures,
        )
        for row in connection.execute(query)
    ]


def _failures(connection: Connection, database: Database, comparison: str) -> list[FailureSeen]:
    query = (
        select(failure, (database.now - failure.c.failed_at).label("age"))
        .where(failure.c.comparison == comparison)
        .order_by(failure.c.id.desc())
    )
    return [
        FailureSeen(item=row.item_key, owner=row.owner, cause=row.cause, seconds_ago=float(row.age))
        for row in connection.execute(query)
    ]


def _set_aside(connection: Connection, comparison: str) -> list[SetAside]:
    query = (
        select(work_item.c.key, work_item.c.cause, work_item.c.detail)
        .where(work_item.c.comparison == comparison, work_item.c.state == "set_aside")
        .order_by(work_item.c.key)
    )
    return [
        SetAside(item=row.key, cause=row.cause, detail=row.detail or "")
        for row in connection.execute(query)
    ]
