"""Work items: added, claimed, renewed, released and finished under a fence.

All times are the database's own. A claim raises the item's fence; renewing, releasing and
finishing name the fence they were given and change nothing when it has grown since.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Update,
    and_,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from ecgopt.causes import Cause
from ecgopt.database.engine import Database
from ecgopt.database.tables import IS_OPEN, work_item, worker
from ecgopt.errors import LeaseLost
from ecgopt.queue.failures import causes_of, errors_in_a_row, note_failures
from ecgopt.queue.locking import lock_comparison
from ecgopt.queue.pausing import is_paused, read_pause, write_pause

ERRORS_TO_PAUSE: Final = 8
"""Errors in a row, without an item done, after which a comparison pauses itself."""
_SEEN_SECONDS: Final = 120.0
"""A heartbeat that is older says nothing of a worker that trains now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """One unit of work, before it is in the database."""

    kind: str
    key: str
    group: str
    needs: str | None
    """The group that must be finished first."""
    priority: int
    """Workers take the lowest number first."""
    after: int | None = None
    """Items of its own group up to this priority must have ended first."""
    bracket: tuple[int, int] | None = None
    """Paused at a rung, it waits until all open items of its group with a priority from the first
    to the last of these two have come there."""
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
    rung: int = 0
    """The last rung at which it paused, and to which its whole bracket has come; 0 is none."""


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
    own = and_(work_item.c.state == "held", work_item.c.owner == owner)
    free = or_(_free(database), own)
    failed_here = work_item.c.failed_owner == owner
    others = or_(work_item.c.failed_owner.is_(None), ~failed_here)

    def first(condition: ColumnElement[bool]) -> Select[Any]:
        return (
            select(work_item)
            .where(
                work_item.c.comparison == comparison,
                IS_OPEN,
                free,
                condition,
                _needs_are_met(),
                _earlier_have_ended(),
                _bracket_has_come(),
                ~is_paused(comparison),
            )
            .order_by(work_item.c.priority, work_item.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )

    # What failed with this worker comes last, and is for another worker while one lives.
    last_choice = first(and_(failed_here, ~_another_lives(database, comparison, owner)))
    with database.transaction() as connection:
        candidate = connection.execute(first(others)).first()
        if candidate is None:
            candidate = connection.execute(last_choice).first()
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
        rung=candidate.rung,
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


def release(database: Database, held: Claim, *, rung: int | None = None) -> None:
    """Give the item back unfinished, after a clean stop or where it pauses.

    Args:
        database: Where the item is.
        held: As it was claimed.
        rung: Where it pauses until its bracket has come there.

    Raises:
        LeaseLost: another worker owns the item now.
    """
    rung = held.rung if rung is None else rung
    change = _change_of(held, state="free", owner=None, lease_until=None, rung=rung)
    with database.transaction() as connection:
        _apply(connection, held, change)


def release_late(database: Database, held: Claim) -> None:
    """Give the item back after its lease ended although its worker lives: that counts as no loss.

    A worker that is short of computing time, or cut off from the database, renews too late. The
    item did not end that worker, so it must not be set aside for it. Where another worker has
    claimed the item since, the failure that this counted is taken back, unless progress has
    already done so.
    """
    change = _change_of(held, state="free", owner=None, lease_until=None)
    forgive = (
        update(work_item)
        .where(
            work_item.c.id == held.item_id,
            work_item.c.fence == held.fence + 1,
            work_item.c.failures > 0,
        )
        .values(failures=work_item.c.failures - 1)
    )
    with database.transaction() as connection:
        if connection.execute(change).rowcount == 0:
            connection.execute(forgive)


def release_failed(database: Database, held: Claim, failure: str, *, pause_seconds: float) -> None:
    """Give the item back after an error, which counts against it.

    For `pause_seconds` no worker takes it, and after that another worker comes first. Where
    errors follow one another and no item ends well, the comparison pauses itself, and errors
    that come after that do not count.

    Args:
        database: Where the item is.
        held: As it was claimed.
        failure: What failed.
        pause_seconds: Until the next attempt.

    Raises:
        LeaseLost: another worker owns the item now.
    """
    counted = _change_of(
        held,
        state="free",
        owner=None,
        lease_until=None,
        failures=work_item.c.failures + 1,
        total_failures=work_item.c.total_failures + 1,
        retry_at=database.now + pause_seconds,
        failed_owner=held.owner,
    )
    clean = _change_of(held, state="free", owner=None, lease_until=None)
    with database.transaction() as connection:
        lock_comparison(connection, held.comparison)
        paused = read_pause(connection, held.comparison)
        if paused is not None and paused.reason:
            _apply(connection, held, clean)
            return
        _apply(connection, held, counted)
        note_failures(connection, database, [held], failure, is_error=True)
        n_errors = errors_in_a_row(connection, held.comparison)
        if n_errors >= ERRORS_TO_PAUSE and not _is_training(database, connection, held):
            last = failure.strip().splitlines()[-1]
            reason = f"{n_errors} errors in a row and no item done; the last, {held.key}: {last}"
            write_pause(database, connection, held.comparison, reason=reason)


def _is_training(database: Database, connection: Connection, failed: Claim) -> bool:
    """Return whether another worker of the comparison trains: it has done an epoch of its item."""
    query = select(worker.c.owner).where(
        worker.c.comparison == failed.comparison,
        worker.c.owner != failed.owner,
        worker.c.state == "running",
        worker.c.epoch > 0,
        worker.c.seen_at > database.now - _SEEN_SECONDS,
    )
    return connection.execute(query.limit(1)).first() is not None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItems:
    """Items that are neither done nor set aside."""

    possible: int
    """Items that are held, or whose needs are met or may still be."""
    blocked: Mapping[str, str]
    """Groups of which no item can begin, each with the failed group that it needs."""
    n_blocked: int
    """Items of these groups that have not ended."""


def open_items(database: Database, comparison: str) -> OpenItems:
    """Return how many items are left, and which of them can never begin as things are.

    A group has failed when all its items have ended and none is done: what needs it is blocked.
    """
    query = (
        select(work_item.c.item_group, work_item.c.needs, work_item.c.state, func.count())
        .where(work_item.c.comparison == comparison)
        .group_by(work_item.c.item_group, work_item.c.needs, work_item.c.state)
    )
    with database.transaction() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    n_open: dict[str, int] = {}
    needs_of: dict[str, str | None] = {}
    for group, needs, state, n in rows:
        if state in ("free", "held"):
            n_open[group] = n_open.get(group, 0) + n
            # What is held has begun, so its group waits for nothing.
            needs_of[group] = None if state == "held" else needs_of.get(group, needs)
    is_done = {group for group, _, state, _ in rows if state == "done"}
    failed = {group for group, *_ in rows} - is_done - n_open.keys()
    blocked: dict[str, str] = {}
    while more := {
        group: blocked.get(needs, needs)
        for group, needs in needs_of.items()
        if needs is not None and group not in blocked and (needs in failed or needs in blocked)
    }:
        blocked |= more
    n_blocked = sum(n_open[group] for group in blocked)
    possible = sum(n_open.values()) - n_blocked
    return OpenItems(possible=possible, blocked=blocked, n_blocked=n_blocked)


def unfinished(database: Database, comparison: str) -> int:
    """Return how many items are left that workers can do, now or later."""
    return open_items(database, comparison).possible


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
    """Return SQL for whether a worker may take an item now; one that failed waits for its time."""
    return or_(
        and_(
            work_item.c.state == "free",
            or_(work_item.c.retry_at.is_(None), work_item.c.retry_at <= database.now),
        ),
        and_(work_item.c.state == "held", work_item.c.lease_until < database.now),
    )


def _another_lives(database: Database, comparison: str, owner: str) -> ColumnElement[bool]:
    """Return SQL for whether another worker of the comparison gave a sign of life lately."""
    return exists().where(
        worker.c.comparison == comparison,
        worker.c.owner != owner,
        worker.c.state == "running",
        worker.c.seen_at > database.now - _SEEN_SECONDS,
    )


def _needs_are_met() -> ColumnElement[bool]:
    needed = work_item.alias("needed")

    # No EXISTS: PostgreSQL would hash the groups of all items to answer it for the first few.
    def any_of(*states: str) -> ColumnElement[int | None]:
        return (
            select(needed.c.id)
            .where(
                needed.c.comparison == work_item.c.comparison,
                needed.c.item_group == work_item.c.needs,
                needed.c.state.in_(states),
            )
            .limit(1)
            .scalar_subquery()
        )

    # A group of which no item is done has failed: what needs it is blocked.
    is_met = and_(any_of("free", "held").is_(None), any_of("done").is_not(None))
    return or_(work_item.c.needs.is_(None), is_met)


def _earlier_have_ended() -> ColumnElement[bool]:
    """Return SQL for whether the items that an item comes after have ended, however they did."""
    earlier = work_item.alias("earlier")
    an_open_one = (
        select(earlier.c.id)
        .where(
            earlier.c.comparison == work_item.c.comparison,
            earlier.c.item_group == work_item.c.item_group,
            earlier.c.state.in_(("free", "held")),
            earlier.c.priority <= work_item.c.after,
        )
        .limit(1)
        .scalar_subquery()
    )
    return or_(work_item.c.after.is_(None), an_open_one.is_(None))


def behind_in_bracket(other: FromClause) -> Select[Any]:
    """Return the query for the open items `other` of an item's bracket that come to its rung later.

    Args:
        other: An alias of the table of work items.
    """
    return select(other.c.id).where(
        other.c.comparison == work_item.c.comparison,
        other.c.item_group == work_item.c.item_group,
        other.c.state.in_(("free", "held")),
        other.c.priority.between(work_item.c.bracket_first, work_item.c.bracket_last),
        other.c.rung < work_item.c.rung,
    )


def _bracket_has_come() -> ColumnElement[bool]:
    """Return SQL for whether the open items of an item's bracket have come to its rung."""
    behind = behind_in_bracket(work_item.alias("of_the_bracket"))
    return or_(work_item.c.rung == 0, behind.limit(1).scalar_subquery().is_(None))


def _row(comparison: str, item: NewItem) -> dict[str, Any]:
    return {
        "comparison": comparison,
        "kind": item.kind,
        "key": item.key,
        "item_group": item.group,
        "needs": item.needs,
        "after": item.after,
        "priority": item.priority,
        "payload": json.dumps(item.payload),
        "state": "free",
        "fence": 0,
        "failures": 0,
        "total_failures": 0,
        "progress": 0,
        "bracket_first": item.bracket and item.bracket[0],
        "bracket_last": item.bracket and item.bracket[1],
        "rung": 0,
    }
