"""The lock under which the work of one comparison changes."""

from sqlalchemy import Connection, update

from ecgopt.database.tables import comparison


def lock_comparison(connection: Connection, name: str) -> None:
    """Let changes to one comparison's work take turns, until the transaction ends."""
    # Under SQLite, BEGIN IMMEDIATE already did it.
    connection.execute(
        update(comparison).where(comparison.c.name == name).values(name=comparison.c.name)
    )
