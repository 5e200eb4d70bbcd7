"""Creates tables where many processes open an empty database at the same time."""

from collections.abc import Callable

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from ecgopt.errors import DatabaseUnavailable

_ATTEMPTS = 20
"""MySQL commits each CREATE TABLE by itself, so a loser may collide on several tables in a row."""


def create_missing_tables(
    engine: Engine, tables: MetaData, fill: Callable[[Connection], None] | None = None
) -> None:
    """Create `tables` where they are missing, and let `fill` add the rows they begin with.

    Safe when several processes do it at once: the loser of the race tries again and finds
    everything in place.
    """
    # An unreachable server is an error now, not after every attempt.
    engine.connect().close()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                tables.create_all(connection)
                if fill is not None:
                    fill(connection)
        except (IntegrityError, OperationalError, ProgrammingError, DatabaseUnavailable):
            if attempt == _ATTEMPTS:
                raise
        else:
            return
