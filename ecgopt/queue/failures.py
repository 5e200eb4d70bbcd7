"""The journal of failures: one row for each worker that lost an item or failed with it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import failure, pause, work_item


def note_failures(
    connection: Connection,
    database: Database,
    held: Sequence[Any],
    cause: str,
    *,
    is_error: bool = False,
) -> None:
    """Write down that each of these items lost its worker, in the caller's transaction.

    Args:
        connection: With the transaction that frees the items or gives them to another worker.
        database: Whose clock is used.
        held: Each with the `comparison`, `key` and `owner` that it had until now.
        cause: How the worker was lost, as far as it is known.
        is_error: Whether the worker lives and says itself what failed.
    """
    if held:
        connection.execute(
            insert(failure).values(failed_at=database.now, is_error=int(is_error)),
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


def errors_in_a_row(connection: Connection, comparison: str) -> int:
    """Return how many errors workers reported since an item was last done, or work last resumed."""
    done = select(func.max(work_item.c.finished_at)).where(
        work_item.c.comparison == comparison, work_item.c.state == "done"
    )
    resumed = select(func.max(pause.c.resumed_at)).where(pause.c.comparison == comparison)
    query = select(func.count()).where(
        failure.c.comparison == comparison,
        failure.c.is_error == 1,
        failure.c.failed_at > func.coalesce(done.scalar_subquery(), 0.0),
        failure.c.failed_at > func.coalesce(resumed.scalar_subquery(), 0.0),
    )
    return int(connection.execute(query).scalar_one())
