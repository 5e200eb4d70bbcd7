"""Optuna's tables: created with the stamps that its own storage looks for, and their revision."""

from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import sqlalchemy
from optuna.storages._rdb import models as optuna_tables
from sqlalchemy import Connection, Engine

from ecgopt.database.schema import create_missing_tables

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


def create_optuna_tables(engine: Engine) -> None:
    """Create Optuna's tables where they are missing, stamped with the versions of this Optuna."""
    try:
        create_missing_tables(engine, optuna_tables.BaseModel.metadata, _stamp_versions)
    finally:
        engine.dispose()


def optuna_revisions(connection: Connection) -> tuple[str | None, str | None]:
    """Return the revision of Optuna's tables in the database, and the one this Optuna needs."""
    from alembic.runtime.migration import MigrationContext

    found = MigrationContext.configure(connection).get_current_revision()
    return found, _scripts().get_current_head()


def _stamp_versions(connection: Connection) -> None:
    from alembic.runtime.migration import MigrationContext

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


def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(optuna_tables.__file__).parent / "alembic"))
