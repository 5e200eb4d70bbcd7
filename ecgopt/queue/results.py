"""Reads what ended work items left behind, and reopens items."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from ecgopt.causes import Cause
from ecgopt.database.engine import Database
from ecgopt.database.tables import retry, work_item
from ecgopt.queue.locking import lock_comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedItem:
    """A work item that is done or set aside."""

    kind: str
    key: str
    payload: Mapping[str, Any]
    is_set_aside: bool
    cause: Cause
    detail: str
    result: Mapping[str, Any]
    """Empty where the item left none."""


def ended_items(
    database: Database,
    comparison: str,
    *,
    kinds: Collection[str] | None = None,
    group: str | None = None,
) -> list[EndedItem]:
    """Return the comparison's items that are done or set aside, in the order they were added.

    Args:
        database: Where the items are.
        comparison: Name of the comparison.
        kinds: Only items of these kinds; None for all.
        group: Only items of this group; None for all.
    """
    query = select(work_item).where(
        work_item.c.comparison == comparison, work_item.c.state.in_(("done", "set_aside"))
    )
    if kinds is not None:
        query = query.where(work_item.c.kind.in_(list(kinds)))
    if group is not None:
        query = query.where(work_item.c.item_group == group)
    with database.transaction() as connection:
        rows = connection.execute(query.order_by(work_item.c.id)).all()
    return [
        EndedItem(
            kind=row.kind,
            key=row.key,
            payload=json.loads(row.payload),
            is_set_aside=row.state == "set_aside",
            cause=Cause(row.cause),
            detail=row.detail or "",
            result=json.loads(row.result or "{}"),
        )
        for row in rows
    ]


def failures_by_group(database: Database, comparison: str, kind: str) -> dict[str, int]:
    """Return how many workers the items of one kind lost, by the items' group."""
    query = (
        select(work_item.c.item_group, func.sum(work_item.c.total_failures).label("failures"))
        .where(work_item.c.comparison == comparison, work_item.c.kind == kind)
        .group_by(work_item.c.item_group)
    )
    with database.transaction() as connection:
        return {row.item_group: int(row.failures) for row in connection.execute(query)}


def count_in_group(connection: Connection, comparison: str, group: str) -> int:
    """Return the number of items in a group, inside the caller's transaction."""
    query = select(func.count()).where(
        work_item.c.comparison == comparison, work_item.c.item_group == group
    )
    return int(connection.execute(query).scalar_one())


def note_retries(
    database: Database, connection: Connection, comparison: str, items: Sequence[EndedItem]
) -> None:
    """Record that these items are tried again, inside the caller's transaction.

    Args:
        database: Whose clock is used.
        connection: With the transaction that frees the items.
        comparison: Name of the comparison.
        items: As they ended.
    """
    if items:
        connection.execute(
            insert(retry).values(comparison=comparison, retried_at=database.now),
            [{"item_key": item.key, "cause": item.cause.value} for item in items],
        )


def retries_of(database: Database, comparison: str) -> dict[str, str]:
    """Return the items that were tried again, each with the cause for which it was set aside."""
    query = (
        select(retry.c.item_key, retry.c.cause)
        .where(retry.c.comparison == comparison)
        .order_by(retry.c.id)
    )
    with database.transaction() as connection:
        return {row.item_key: row.cause for row in connection.execute(query)}


def reopen_once(database: Database, comparison: str, key: str) -> bool:
    """Free an item that is done, so that its product is made again, unless that was done before.

    Args:
        database: Where the item is.
        comparison: Name of the comparison.
        key: Of the item; its result stays until it ends again.

    Returns:
        Whether the item is free or held now.
    """
    with database.transaction() as connection:
        lock_comparison(connection, comparison)
        query = select(work_item.c.state, work_item.c.cause).where(
            work_item.c.comparison == comparison, work_item.c.key == key
        )
        found = connection.execute(query).one()
        if found.state != "done":
            return bool(found.state != "set_aside")
        earlier = select(retry.c.id).where(
            retry.c.comparison == comparison, retry.c.item_key == key
        )
        if connection.execute(earlier).first() is not None:
            return False
        connection.execute(
            insert(retry).values(
                comparison=comparison,
                item_key=key,
                cause=found.cause,
                retried_at=database.now,
            )
        )
        reopen(connection, comparison, [key])
    return True


def result_of(database: Database, comparison: str, key: str) -> Mapping[str, Any]:
    """Return the result that an item has left, also before it was reopened; empty without one."""
    query = select(work_item.c.result).where(
        work_item.c.comparison == comparison, work_item.c.key == key
    )
    with database.transaction() as connection:
        found = connection.execute(query).scalar()
    return dict(json.loads(found or "{}"))


def reopen(connection: Connection, comparison: str, keys: Collection[str]) -> None:
    """Free items whatever their state, inside the caller's transaction; present owners are void."""
    connection.execute(
        update(work_item)
        .where(work_item.c.comparison == comparison, work_item.c.key.in_(list(keys)))
        .values(
            state="free",
            owner=None,
            lease_until=None,
            fence=work_item.c.fence + 1,
            failures=0,
            progress=0,
            cause=None,
            detail=None,
            retry_at=None,
            failed_owner=None,
            finished_at=None,
        )
    )
