"""Pausing a comparison: what is held is finished, and nothing new is claimed."""

from sqlalchemy import ColumnElement, delete, exists, insert, select
from sqlalchemy.exc import IntegrityError

from ecgopt.database.engine import Database
from ecgopt.database.tables import pause as pause_table


def pause(database: Database, comparison: str) -> bool:
    """Let workers claim nothing more; return whether that is new.

    A held item goes on to its own end: a pause costs no epoch, and takes at most one trial's time.
    """
    try:
        with database.transaction() as connection:
            connection.execute(
                insert(pause_table).values(comparison=comparison, paused_at=database.now)
            )
    except IntegrityError:
        return False
    return True


def resume(database: Database, comparison: str) -> bool:
    """Let workers claim again; return whether the comparison was paused."""
    with database.transaction() as connection:
        removed = connection.execute(
            delete(pause_table).where(pause_table.c.comparison == comparison)
        )
    return removed.rowcount > 0


def read_paused(database: Database, comparison: str) -> bool:
    """Return whether the comparison is paused now."""
    with database.transaction() as connection:
        return bool(connection.execute(select(is_paused(comparison))).scalar_one())


def is_paused(comparison: str) -> ColumnElement[bool]:
    """Return SQL for whether claims of the comparison's items wait for `ecgopt study resume`."""
    return exists().where(pause_table.c.comparison == comparison)
