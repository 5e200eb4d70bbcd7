"""Work items: added, claimed, renewed, released and finished under a fence.

All times are the database's own. A claim raises the item's fence; renewing, releasing and
finishing name the fence they were given and change nothing when it has grown since.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from ecgopt.causes import Cause
from ecgopt.database.engine import Database
from ecgopt.database.tables import IS_OPEN, comparison, work_item
from ecgopt.errors import LeaseLost
from ecgopt.queue.failures import causes_of, note_failures
from ecgopt.queue.pausing import is_paused


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """One unit of work, before it is in the database."""

    kind: str
    key: str
    group: str
    needs: str | None
    priority: int
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The time-limited ownership of one work item."""

    item_id: int
    fence: int
    comparison: str
    kind: str
    key: str
    payload: Mapping[str, Any]
    owner: str
    failures: int
    """Workers this item has lost since it last made progress."""
    total_failures: int = 0
    """Workers this item has ever lost."""
    causes: tuple[str, ...] = ()
    """How it lost each of them, as far as it is known."""


def lock_comparison(connection: Connection, name: str) -> None:
    """Let changes to one comparison's work take turns, until the transaction ends."""
    # Under SQLite, BEGIN IMMEDIATE already did it.
    connection.execute(
        update(comparison).where(comparison.c.name == name).values(name=comparison.c.name)
    )


def add_missing(connection: Connection, comparison: str, items: Sequence[NewItem]) -> list[NewItem]:
    """Insert the items whose key is not there yet and return those, in the caller's transaction.

    The caller holds the comparison's row lock, so two set-ups cannot both find an item missing.
    """
    query = select(work_item.c.key).where(work_item.c.comparison == comparison)
    present = set(connection.execute(query).scalars())
    missing = [item for item in items if item.key not in present]
    if missing:
        connection.execute(insert(work_item), [_row(comparison, item) for item in missing])
    return missing


def claim(database: Database, comparison: str, owner: str, *, lease_seconds: float) -> Claim | None:
    """Take the first item that is free and whose needs are met; None when there is none now.

    None does not mean finished: others may hold items that come free. See `unfinished`. To repeat
    the call after a lost answer is harmless: it returns what this owner holds.

    Args:
        database: Where the items are.
        comparison: Name of the comparison.
        owner: Name that no other worker has or had.
        lease_seconds: How long the item is the owner's unless it renews.
    """
    # What this owner seems to hold already was claimed in an attempt whose answer was lost.
    free = or_(_free(database), and_(work_item.c.state == "held", work_item.c.owner == owner))
    first = (
        select(work_item)
        .where(
            work_item.c.comparison == comparison,
            IS_OPEN,
            free,
            _needs_are_met(),
            ~is_paused(comparison),
        )
        .order_by(work_item.c.priority, work_item.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    with database.transaction() as connection:
        candidate = connection.execute(first).first()
        if candidate is None:
            return None
        was_lost = candidate.state == "held" and candidate.owner != owner
        taken = connection.execute(
            update(work_item)
            # The free-condition stands here again: a blocked UPDATE re-checks only its own WHERE.
            .where(work_item.c.id == candidate.id, work_item.c.fence == candidate.fence, free)
            .values(
                state="held",
                owner=owner,
                fence=candidate.fence + 1,
                lease_until=database.now + lease_seconds,
                claimed_at=database.now,
                failures=candidate.failures + was_lost,
                total_failures=candidate.total_failures + was_lost,
            )
        )
        if taken.rowcount != 1:
            return None
        if was_lost:
            cause = f"worker {candidate.owner} was not heard of until its lease ended"
            note_failures(connection, database, [candidate], cause)
        total_failures = candidate.total_failures + was_lost
        causes = causes_of(connection, candidate) if total_failures else ()
    return Claim(
        item_id=candidate.id,
        fence=candidate.fence + 1,
        comparison=comparison,
        kind=candidate.kind,
        key=candidate.key,
        payload=json.loads(candidate.payload),
        owner=owner,
        failures=candidate.failures + was_lost,
        total_failures=total_failures,
        causes=causes,
    )


def renew(
    database: Database,
    held: Claim,
    *,
    lease_seconds: float,
    progress: int,
    also: Callable[[Connection], None] | None = None,
) -> None:
    """Extend the lease and note the epochs done; progress forgives earlier failures.

    Args:
        database: Where the item is.
        held: As it was claimed.
        lease_seconds: From now on.
        progress: Epochs done.
        also: Writes more in the same transaction; a former owner writes none of it.

    Raises:
        LeaseLost: another worker owns the item now.
    """
    change = _change_of(
        held,
        lease_until=database.now + lease_seconds,
        # `failures` comes before `progress`: MySQL evaluates assignments from left to right.
        failures=case((work_item.c.progress < progress, 0), else_=work_item.c.failures),
        progress=case((work_item.c.progress < progress, progress), else_=work_item.c.progress),
    )
    with database.transaction() as connection:
        _apply(connection, held, change)
        if also is not None:
            also(connection)


def release(database: Database, held: Claim, *, failure: str | None = None) -> None:
    """Give the item back unfinished.

    Args:
        database: Where the item is.
        held: As it was claimed.
        failure: How the worker lost it, which counts against the item; None for a clean stop.

    Raises:
        LeaseLost: another worker owns the item now.
    """
    lost = int(failure is not None)
    change = _change_of(
        held,
        state="free",
        owner=None,
        lease_until=None,
        failures=work_item.c.failures + lost,
        total_failures=work_item.c.total_failures + lost,
    )
    with database.transaction() as connection:
        _apply(connection, held, change)
        if failure is not None:
            note_failures(connection, database, [held], failure)


def release_dead_workers(database: Database, owners: Sequence[str], *, cause: str) -> int:
    """Free the items of dead workers, count a failure of each, and return how many there were.

    Only the parent that has reaped the process may call this: a live owner would be fenced off.

    Args:
        database: Where the items are.
        owners: The workers that died.
        cause: What they died of, as far as it is known.
    """
    if not owners:
        return 0
    with database.transaction() as connection:
        lost = connection.execute(
            select(work_item)
            .where(work_item.c.owner.in_(list(owners)), work_item.c.state == "held")
            .with_for_update()
        ).all()
        note_failures(connection, database, lost, cause)
        changed = connection.execute(
            update(work_item)
            .where(work_item.c.id.in_([row.id for row in lost]))
            .values(
                state="free",
                owner=None,
                lease_until=None,
                fence=work_item.c.fence + 1,
                failures=work_item.c.failures + 1,
                total_failures=work_item.c.total_failures + 1,
            )
        )
    return int(changed.rowcount)


def finish(
    database: Database,
    held: Claim,
    *,
    cause: Cause,
    result: Mapping[str, Any] | None = None,
    detail: str = "",
) -> None:
    """Close the item with its result, in one statement; a repeated call by the owner is harmless.

    Args:
        database: Where the item is.
        held: As it was claimed.
        cause: Why the item ended; some causes set it aside.
        result: Plain JSON.
        detail: More about the cause, for people.

    Raises:
        LeaseLost: another worker owns the item now.
    """
    change = _change_of(
        held,
        state="set_aside" if cause.sets_aside else "done",
        lease_until=None,
        cause=cause.value,
        detail=detail or None,
        result=json.dumps(result) if result is not None else None,
        finished_at=database.now,
    )
    try:
        with database.transaction() as connection:
            _apply(connection, held, change)
    except LeaseLost:
        # After a dropped connection the commit may have happened although its answer was lost.
        if not _finished_by(database, held):
            raise


def assert_owned(connection: Connection, held: Claim) -> None:
    """Check inside the caller's transaction that what it writes comes from the item's owner.

    The row stays locked until the transaction ends, so no other worker can claim it in between.

    Raises:
        LeaseLost: another worker owns the item now.
    """
    query = select(work_item.c.id).where(
        work_item.c.id == held.item_id,
        work_item.c.fence == held.fence,
        work_item.c.state == "held",
    )
    if connection.execute(query.with_for_update()).first() is None:
        raise LeaseLost(f"work item {held.key!r} is no longer held under fence {held.fence}")


def unfinished(database: Database, comparison: str) -> int:
    """Return how many items are neither done nor set aside."""
    query = select(func.count()).where(work_item.c.comparison == comparison, IS_OPEN)
    with database.transaction() as connection:
        return int(connection.execute(query).scalar_one())


def _change_of(held: Claim, **values: Any) -> Update:  # noqa: ANN401 - SQL
    """Return the statement that its owner changes the item by.

    It is made before the transaction: under SQLite all other writers wait for what is done inside.
    """
    return (
        update(work_item)
        .where(
            work_item.c.id == held.item_id,
            work_item.c.fence == held.fence,
            work_item.c.state == "held",
        )
        .values(**values)
    )


def _apply(connection: Connection, held: Claim, change: Update) -> None:
    if connection.execute(change).rowcount != 1:
        raise LeaseLost(f"work item {held.key!r} is no longer held under fence {held.fence}")


def _finished_by(database: Database, held: Claim) -> bool:
    query = select(work_item.c.id).where(
        work_item.c.id == held.item_id,
        work_item.c.fence == held.fence,
        work_item.c.owner == held.owner,
        work_item.c.state.in_(("done", "set_aside")),
    )
    with database.transaction() as connection:
        return connection.execute(query).first() is not None


def _free(database: Database) -> ColumnElement[bool]:
    return or_(
        work_item.c.state == "free",
        and_(work_item.c.state == "held", work_item.c.lease_until < database.now),
    )


def _needs_are_met() -> ColumnElement[bool]:
    needed = work_item.alias("needed")
    # No EXISTS: PostgreSQL would hash the groups of all items to answer it for the first few.
    pending = (
        select(needed.c.id)
        .where(
            needed.c.comparison == work_item.c.comparison,
            needed.c.item_group == work_item.c.needs,
            needed.c.state.in_(("free", "held")),
        )
        .limit(1)
        .scalar_subquery()
    )
    return or_(work_item.c.needs.is_(None), pending.is_(None))


def _row(comparison: str, item: NewItem) -> dict[str, Any]:
    return {
        "comparison": comparison,
        "kind": item.kind,
        "key": item.key,
        "item_group": item.group,
        "needs": item.needs,
        "priority": item.priority,
        "payload": json.dumps(item.payload),
        "state": "free",
        "fence": 0,
        "failures": 0,
        "total_failures": 0,
        "progress": 0,
    }
