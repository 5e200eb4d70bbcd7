"""Pausing a comparison: what is held is finished, and nothing new is claimed."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from ecgopt.database.engine import Database
from ecgopt.database.tables import pause as pause_table
from ecgopt.queue.locking import lock_comparison


@dataclass(frozen=True, slots=True)
class Pause:
    """A comparison whose items no worker claims."""

    reason: str
    """Why the comparison paused itself; empty where a user paused it."""


def pause(database: Database, comparison: str) -> bool:
    """Let workers claim nothing more; return whether that is new.

    A held item continues to its own end: a pause costs no epoch, and takes at most one trial's
    time.
    """
    with database.transaction() as connection:
        lock_comparison(connection, comparison)
        if read_pause(connection, comparison) is not None:
            return False
        write_pause(database, connection, comparison, reason=None)
    return True


def resume(database: Database, comparison: str) -> bool:
    """Let workers claim again; return whether the comparison was paused."""
    with database.transaction() as connection:
        resumed = connection.execute(
            update(pause_table)
            .where(pause_table.c.comparison == comparison, pause_table.c.resumed_at.is_(None))
            .values(resumed_at=database.now)
        )
    return resumed.rowcount > 0


def pause_of(database: Database, comparison: str) -> Pause | None:
    """Return the comparison's pause, or None where it is not paused."""
    with database.transaction() as connection:
        return read_pause(connection, comparison)


def read_pause(connection: Connection, comparison: str) -> Pause | None:
    """Return the comparison's pause inside the caller's transaction, or None."""
    query = select(pause_table.c.reason).where(
        pause_table.c.comparison == comparison, pause_table.c.resumed_at.is_(None)
    )
    row = connection.execute(query).first()
    return None if row is None else Pause(row.reason or "")


def write_pause(
    database: Database, connection: Connection, comparison: str, *, reason: str | None
) -> None:
    """Pause the comparison inside the caller's transaction, which holds its lock.

    Args:
        database: Whose clock is used.
        connection: With the transaction.
        comparison: Name of the comparison.
        reason: Why it pauses itself; None where a user pauses it.
    """
    connection.execute(delete(pause_table).where(pause_table.c.comparison == comparison))
    connection.execute(
        insert(pause_table).values(comparison=comparison, paused_at=database.now, reason=reason)
    )


def is_paused(comparison: str) -> ColumnElement[bool]:
    """Return SQL for whether claims of the comparison's items wait for `ecgopt study resume`."""
    return exists().where(
        pause_table.c.comparison == comparison, pause_table.c.resumed_at.is_(None)
    )
