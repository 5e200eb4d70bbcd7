"""The shared database: the one file that knows its back ends.

Optuna's tables and our own live in the same database and are reached through one engine a process.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models as optuna_tables
from sqlalchemy import Connection, Engine, MetaData, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from ecgopt.errors import StorageError

STORAGE_VARIABLE = "ECGOPT_STORAGE"
STORAGE_FILE_VARIABLE = "ECGOPT_STORAGE_FILE"

_SQLITE_BUSY_MILLISECONDS = 60_000
_SETUP_ATTEMPTS = 20
"""MySQL commits each CREATE TABLE by itself, so a loser may collide on several tables in a row."""

_ENGINE_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"connect_args": {"timeout": _SQLITE_BUSY_MILLISECONDS / 1000}},
    "postgresql": {
        # pool_pre_ping turns a restarted server into a fresh connection instead of a lost trial.
        "pool_pre_ping": True,
        "pool_size": 2,
        "max_overflow": 2,
        "pool_timeout": 30,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": 10,
            "tcp_user_timeout": 15000,
            "keepalives_idle": 15,
            "options": "-c statement_timeout=60000 -c lock_timeout=30000"
            " -c idle_in_transaction_session_timeout=60000",
        },
    },
    "mysql": {
        "pool_pre_ping": True,
        "pool_size": 2,
        "max_overflow": 2,
        "pool_recycle": 1800,
        "isolation_level": "READ COMMITTED",
        "connect_args": {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60},
    },
}

_CLOCK_SQL = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",
    "mysql": "unix_timestamp(sysdate(6))",
}
"""Seconds since 1970 on the database's clock, the only clock that leases are measured by."""

TRANSIENT_ERRORS = (DBAPIError, optuna.exceptions.StorageInternalError)
"""What a restarted, paused or briefly unreachable database raises; the caller may try again."""


@dataclass(frozen=True, slots=True)
class Database:
    """One open database: the engine for our own tables and Optuna's storage over the same one."""

    engine: Engine
    optuna: optuna.storages.BaseStorage

    @property
    def dialect(self) -> str:
        """The back end: sqlite, postgresql or mysql (which MariaDB also answers to)."""
        name = self.engine.dialect.name
        return "mysql" if name == "mariadb" else name

    @property
    def now(self) -> sqlalchemy.ColumnElement[float]:
        """SQL for the database's own time in seconds."""
        return sqlalchemy.literal_column(_CLOCK_SQL[self.dialect], sqlalchemy.Float)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a connection with one transaction that commits at the end of the block.

        Keep the block short: under SQLite even a SELECT holds the only write lock.
        """
        with self.engine.begin() as connection:
            yield connection

    def describe(self) -> str:
        """Return the URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)


def storage_url(option: str | None, sqlite_file: Path) -> str:
    """Return the database URL from the option, the environment, a file, or the embedded default.

    Order: `option`, then ECGOPT_STORAGE, then the first line of the file that ECGOPT_STORAGE_FILE
    names, then SQLite in the workspace.
    """
    if option:
        return option
    if from_environment := os.environ.get(STORAGE_VARIABLE):
        return from_environment
    if file_name := os.environ.get(STORAGE_FILE_VARIABLE):
        try:
            return Path(file_name).read_text().splitlines()[0].strip()
        except (OSError, IndexError) as error:
            raise StorageError(
                f"{STORAGE_FILE_VARIABLE}={file_name} must name a readable file whose first line "
                f"is the database URL: {error.__class__.__name__}"
            ) from error
    return f"sqlite:///{sqlite_file.resolve()}"


def open_database(url: str) -> Database:
    """Return the opened database, its Optuna tables created when missing.

    Raises:
        StorageError: the URL is malformed, its back end is not supported or its driver is not
            installed, or the server refuses the connection. The text never holds a password.
    """
    parsed = _parse(url)
    # The text of the original error may quote the URL, so it is never chained: `from None`.
    shown = parsed.render_as_string(hide_password=True)
    try:
        backend = _open_sqlite(parsed) if _family(parsed) == "sqlite" else _open_server(parsed)
        return Database(engine=backend.engine, optuna=_CachedStorage(backend))
    except ImportError:
        raise StorageError(
            f"the driver of {shown} is not installed: pip install 'ecgopt[mysql]' for MySQL and "
            "MariaDB; PostgreSQL's (psycopg) comes with ecgopt as postgresql+psycopg://"
        ) from None
    except (SQLAlchemyError, OSError, RuntimeError) as error:
        raise StorageError(
            f"cannot open {shown}: {_first_line(error, parsed)}; check the address, the password "
            "and that the server runs (`ecgopt storage check`)"
        ) from None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(
            "the database URL must look like postgresql+psycopg://user@host/name, "
            "mysql+pymysql://user@host/name or sqlite:////path/file, but could not be read"
        ) from None
    if _family(parsed) not in _ENGINE_OPTIONS:
        raise StorageError(
            f"the database must be SQLite, PostgreSQL, MySQL or MariaDB, "
            f"but got {parsed.get_backend_name()!r}"
        )
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("mysql", "mariadb"):
        parsed = parsed.set(drivername="mysql+pymysql")
    try:
        parsed.get_dialect()
    except NoSuchModuleError:
        raise StorageError(f"SQLAlchemy knows no driver {parsed.drivername!r}") from None
    return parsed


def _family(url: URL) -> str:
    name = url.get_backend_name()
    return "mysql" if name == "mariadb" else name


def _first_line(error: BaseException, url: URL) -> str:
    cause = getattr(error, "orig", None) or error
    text = " ".join(str(cause).split())[:200]
    return text.replace(str(url.password), "***") if url.password else text


def _open_server(url: URL) -> RDBStorage:
    options = {**_ENGINE_OPTIONS[_family(url)]}
    _create_optuna_tables(sqlalchemy.create_engine(url, **options))
    return _SecretRDBStorage(
        url.render_as_string(hide_password=False), engine_kwargs=options, skip_table_creation=True
    )


def _open_sqlite(url: URL) -> RDBStorage:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(url, **_ENGINE_OPTIONS["sqlite"])
    _begin_immediately(engine)
    _create_optuna_tables(engine)
    return _ImmediateSQLite(
        url.render_as_string(),
        engine_kwargs={**_ENGINE_OPTIONS["sqlite"]},
        skip_table_creation=True,
    )


def create_missing_tables(
    engine: Engine, tables: MetaData, fill: Callable[[Connection], None] | None = None
) -> None:
    """Create `tables` where they are missing, and let `fill` add the rows they begin with.

    Safe when several processes do it at once: the loser of the race tries again and finds
    everything in place.
    """
    # An unreachable server is an error now, not after every attempt.
    engine.connect().close()
    for attempt in range(1, _SETUP_ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                tables.create_all(connection)
                if fill is not None:
                    fill(connection)
        except (IntegrityError, OperationalError, ProgrammingError):
            if attempt == _SETUP_ATTEMPTS:
                raise
        else:
            return


def _create_optuna_tables(engine: Engine) -> None:
    try:
        create_missing_tables(engine, optuna_tables.BaseModel.metadata, _stamp_versions)
    finally:
        engine.dispose()


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
        scripts = ScriptDirectory(str(Path(optuna_tables.__file__).parent / "alembic"))
        migrations.stamp(scripts, "head")


class _SecretRDBStorage(RDBStorage):
    """Optuna's storage whose `repr`, shown in tracebacks, keeps the password to itself."""

    def __repr__(self) -> str:
        return f"<RDBStorage {self.engine.url.render_as_string(hide_password=True)}>"


class _ImmediateSQLite(_SecretRDBStorage):
    """Optuna's SQLite storage with WAL and `BEGIN IMMEDIATE`.

    Unpatched, the SELECT before an UPDATE runs outside the write transaction, and eight processes
    popped 44 of 200 waiting trials twice; patched, none.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - Optuna's own arguments
        super().__init__(url, **options)
        self._patch()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._patch()

    def _patch(self) -> None:
        _begin_immediately(self.engine)
        # RDBStorage connected inside __init__, before the listeners: drop those connections.
        self.engine.dispose()


def _begin_immediately(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connection
        connection.isolation_level = None  # stop sqlite3's own late BEGIN
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_MILLISECONDS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def quiet_optuna() -> None:
    """Keep Optuna's log to warnings and silence its notices of experimental arguments."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
