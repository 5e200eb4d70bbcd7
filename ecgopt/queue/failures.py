"""The journal of failures: one row for each worker that lost an item."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import failure


def note_failures(
    connection: Connection, database: Database, held: Sequence[Any], cause: str
) -> None:
    """Write down that each of these items lost its worker, in the caller's transaction.

    Args:
        connection: With the transaction that frees the items or gives them to another worker.
        database: Whose clock is used.
        held: Each with the `comparison`, `key` and `owner` that it had until now.
        cause: How the worker was lost, as far as it is known.
    """
    if held:
        connection.execute(
            insert(failure).values(failed_at=database.now),
            [
                {
                    "comparison": item.comparison,
                    "item_key": item.key,
                    "owner": item.owner,
                    "cause": cause,
                }
                for item in held
            ],
        )


def causes_of(connection: Connection, item: Any) -> tuple[str, ...]:  # noqa: ANN401 - row or claim
    """Return how the item lost its workers, the first one first."""
    query = (
        select(failure.c.cause)
        .where(failure.c.comparison == item.comparison, failure.c.item_key == item.key)
        .order_by(failure.c.id)
    )
    return tuple(connection.execute(query).scalars())
