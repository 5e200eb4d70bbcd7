"""Creating tables, ours and Optuna's, when many processes open an empty database at once."""

from collections.abc import Callable
from pathlib import Path

import optuna
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages._rdb import models as optuna_tables
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


def create_optuna_tables(engine: Engine) -> None:
    """Create Optuna's tables where they are missing, stamped with the versions of this Optuna."""
    try:
        create_missing_tables(engine, optuna_tables.BaseModel.metadata, _stamp_versions)
    finally:
        engine.dispose()


def optuna_revisions(connection: Connection) -> tuple[str | None, str | None]:
    """Return the revision of Optuna's tables in the database, and the one this Optuna needs."""
    found = MigrationContext.configure(connection).get_current_revision()
    return found, _scripts().get_current_head()


def _stamp_versions(connection: Connection) -> None:
    # RDBStorage writes both stamps unguarded: two first openers of a database collide on them.
    table = optuna_tables.VersionInfoModel.__table__
    if connection.execute(sqlalchemy.select(table)).first() is None:
        connection.execute(
            sqlalchemy.insert(table).values(
                version_info_id=1,
                schema_version=optuna_tables.SCHEMA_VERSION,
                library_version=optuna.__version__,
            )
        )
    migrations = MigrationContext.configure(connection)
    if migrations.get_current_revision() is None:
        migrations.stamp(_scripts(), "head")


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(optuna_tables.__file__).parent / "alembic"))
