"""The journal of the sealed test: each opening, and the result that was read from it.

Every write is fenced: only the owner of a final fit's work item opens, keeps or reuses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import sealed_opening, sealed_result, work_item
from ecgopt.queue.items import Claim, assert_owned


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningSeen:
    """One row of the journal."""

    payload: Mapping[str, Any]
    """Of the final fit's work item."""
    worker: str
    opened_at: float
    """Seconds since 1970, on the database's clock."""
    is_reuse: bool
    """Whether a kept result was returned instead: no signal was read."""
    is_interrupted: bool
    """Whether the worker was lost before it kept a result; a later opening gave the result."""
    winner: str
    """Hash of what was scored; empty where it is not known."""


def note_opening(database: Database, claim: Claim) -> int:
    """Write down that the claim's owner opens the sealed test now, and return the row's id.

    Raises:
        LeaseLost: another worker owns the final fit.
    """
    with database.transaction() as connection:
        assert_owned(connection, claim)
        return _note(database, connection, claim, reused=0)


def keep_result(
    database: Database, claim: Claim, winner: str, opening_id: int, result: Mapping[str, Any]
) -> None:
    """Keep what was read from an opening, so that it need not be read again; repeatable.

    Args:
        database: Where the journal is.
        claim: Of the final fit.
        winner: Hash of all that determines the fit.
        opening_id: The opening that the result comes from.
        result: As the work item will hold it.

    Raises:
        LeaseLost: another worker owns the final fit.
    """
    row = {
        "comparison": claim.comparison,
        "item_key": claim.key,
        "winner": winner,
        "opening_id": opening_id,
        "result": json.dumps(result),
        "stored_at": database.now,
    }
    with database.transaction() as connection:
        assert_owned(connection, claim)
        if _kept(connection, claim, winner) is None:
            connection.execute(insert(sealed_result).values(row))


def reuse_result(database: Database, claim: Claim, winner: str) -> dict[str, Any] | None:
    """Return the result kept for this winner, with a row in the journal; None if there is none.

    Raises:
        LeaseLost: another worker owns the final fit.
    """
    with database.transaction() as connection:
        assert_owned(connection, claim)
        text = _kept(connection, claim, winner)
        if text is None:
            return None
        _note(database, connection, claim, reused=1)
    found: dict[str, Any] = json.loads(text)
    return found


def read_openings(database: Database, comparison: str) -> list[OpeningSeen]:
    """Return the comparison's journal, oldest row first."""
    query = (
        select(sealed_opening, work_item.c.payload)
        .join(
            work_item,
            (work_item.c.comparison == sealed_opening.c.comparison)
            & (work_item.c.key == sealed_opening.c.item_key),
        )
        .where(sealed_opening.c.comparison == comparison)
        .order_by(sealed_opening.c.id)
    )
    results = select(sealed_result).where(sealed_result.c.comparison == comparison)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
        kept = connection.execute(results).all()
    winner_of = {result.opening_id: result.winner for result in kept}
    # An item without any kept result is at work now.
    has_result = {result.item_key for result in kept}
    return [
        OpeningSeen(
            payload=json.loads(row.payload),
            worker=row.worker,
            opened_at=row.opened_at,
            is_reuse=bool(row.reused),
            is_interrupted=not row.reused
            and row.id not in winner_of
            and row.item_key in has_result,
            winner=winner_of.get(row.id, ""),
        )
        for row in rows
    ]


def count_openings(connection: Connection, comparison: str) -> int:
    """Return how often signals of the sealed test were read, inside the caller's transaction."""
    query = select(func.count()).where(
        sealed_opening.c.comparison == comparison, sealed_opening.c.reused == 0
    )
    return int(connection.execute(query).scalar_one())


def _note(database: Database, connection: Connection, claim: Claim, *, reused: int) -> int:
    row = {
        "comparison": claim.comparison,
        "item_key": claim.key,
        "worker": claim.owner,
        "opened_at": database.now,
        "reused": reused,
    }
    inserted = connection.execute(insert(sealed_opening).values(row)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def _kept(connection: Connection, claim: Claim, winner: str) -> str | None:
    query = select(sealed_result.c.result).where(
        sealed_result.c.comparison == claim.comparison,
        sealed_result.c.item_key == claim.key,
        sealed_result.c.winner == winner,
    )
    text = connection.execute(query).scalar()
    return None if text is None else str(text)
