"""The shared database: the one file that knows its back ends.

Optuna's tables and our own live in the same database and are reached through one engine a process.
"""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection, Engine, NullPool, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ecgopt.database.retry import (
    PatientPool,
    duration_of,
    retrying,
    translate_errors,
    words_of,
)
from ecgopt.database.timeouts import STATEMENT_SECONDS
from ecgopt.database.url import (
    Family,
    family,
    parsed_url,
    shown,
    transport_options,
)
from ecgopt.errors import DatabaseUnavailable, StorageError

if TYPE_CHECKING:
    # Optuna, Alembic and psycopg take a second to import: only where they are used.
    import psycopg

    from ecgopt.database.optuna.storage import SlotStorage

_Opened = TypeVar("_Opened")

LOOKS_ONLY = "ecgopt_looks_only"
"""Execution option of a connection whose next transaction takes no write lock under SQLite."""
_READS_ONLY = "ecgopt_reads_only"
_SQLITE_BUSY_MILLISECONDS = 60_000
_SQLITE_RETRY_SECONDS = 0.02
_FEW_CONNECTIONS: dict[str, int] = {"pool_size": 1, "max_overflow": 1}
"""One for a process that waits or reads, a second for the thread that renews a lease."""
_TIMEOUTS = {
    "statement_timeout": "60s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}
"""Of PostgreSQL: what a frozen worker holds locked, the server frees."""
_SET_TIMEOUTS = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _TIMEOUTS.items())
_ENGINE_OPTIONS: dict[Family, dict[str, Any]] = {
    "sqlite": {"connect_args": {"timeout": _SQLITE_BUSY_MILLISECONDS / 1000}},
    "postgresql": {
        # pool_pre_ping turns a restarted server into a fresh connection instead of a lost trial.
        "pool_pre_ping": True,
        **_FEW_CONNECTIONS,
        "pool_timeout": 30,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": 10,
            "tcp_user_timeout": 15000,
            "keepalives_idle": 15,
            "options": " ".join(f"-c {name}={value}" for name, value in _TIMEOUTS.items()),
        },
    },
    "mysql": {
        "pool_pre_ping": True,
        **_FEW_CONNECTIONS,
        "pool_recycle": 1800,
        "isolation_level": "READ COMMITTED",
        "connect_args": {
            "connect_timeout": 10,
            "read_timeout": STATEMENT_SECONDS,
            "write_timeout": STATEMENT_SECONDS,
        },
    },
}

_CLOCK_SQL: dict[Family, str] = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",
    "mysql": "unix_timestamp(sysdate(6))",
}
"""Seconds since 1970 on the database's clock, the only clock that leases are measured by."""


Transaction: TypeAlias = Connection
"""What is written to it is committed as a whole, or not at all."""


@dataclass(frozen=True, slots=True)
class Database:
    """One open database: the engine for our own tables and Optuna's storage over the same one."""

    engine: Engine
    _open_optuna: Callable[[], "SlotStorage"] = field(repr=False)

    @property
    def optuna(self) -> "SlotStorage":
        """Optuna's storage over the same database."""
        return self._open_optuna()

    @property
    def dialect(self) -> Family:
        """The back end; MariaDB counts as MySQL."""
        return family(self.engine.url)

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
        return shown(self.engine.url)


def open_database(url: str, *, patience_seconds: float = 0.0) -> Database:
    """Return the opened database, its Optuna tables created when missing.

    Args:
        url: Database URL; see `storage_url`.
        patience_seconds: How long to try again while the server cannot be reached. One that
            answers that it starts, stops, or has no connection left is asked for ten minutes.

    Raises:
        StorageError: the URL is malformed, its back end is not supported or its driver is not
            installed, the way to it is not encrypted, the server refuses the connection, or the
            tests have not run with this Optuna. The text never holds a password.
    """
    # Only here: a command that reads needs neither Optuna's storage nor its tables made.
    from ecgopt.database.optuna.storage import check_version, open_optuna

    check_version()
    parsed = parsed_url(url)
    options = _engine_options(parsed)
    storage = _opened(
        parsed,
        lambda: open_optuna(parsed, _for_pooler(parsed, options)),
        max(patience_seconds, 0.0),
        busy_seconds=_BUSY_SECONDS,
    )
    return Database(storage.engine, lambda: storage)


def open_existing(url: str, *, reads_only: bool = False) -> Database:
    """Return the opened database, without making any table; Optuna is loaded when it is used.

    Args:
        url: Database URL; see `existing_url`.
        reads_only: Whether a write is an error. Under SQLite the transactions then take no write
            lock: however often this process reads, no worker waits for it, and it waits for none.

    Raises:
        StorageError: as `open_database`.
    """
    parsed = parsed_url(url)
    if reads_only:
        parsed = _for_read_only_folder(parsed)
    options = _engine_options(parsed)

    def connected() -> Engine:
        engine = sqlalchemy.create_engine(parsed, **_for_pooler(parsed, options))
        add_listeners(engine)
        if reads_only:
            engine.update_execution_options(**{_READS_ONLY: True})
        engine.connect().close()
        return engine

    @cache
    def optuna() -> "SlotStorage":
        from ecgopt.database.optuna.storage import check_version, open_optuna

        check_version()
        storage = open_optuna(parsed, _for_pooler(parsed, options), create=False)
        if reads_only:
            storage.engine.update_execution_options(**{_READS_ONLY: True})

        @event.listens_for(engine, "engine_disposed")
        def _dispose(_engine: Engine) -> None:
            storage.engine.dispose()

        return storage

    engine = _opened(parsed, connected, 0.0)
    return Database(engine, optuna)


def _opened(
    parsed: URL,
    opening: Callable[[], _Opened],
    patience_seconds: float,
    *,
    busy_seconds: float = 0.0,
) -> _Opened:
    begun = time.monotonic()

    def wait(error: DatabaseUnavailable) -> bool:
        limit = patience_seconds
        if _BUSY.search(str(error)):
            limit = max(limit, busy_seconds)
        if time.monotonic() - begun >= limit:
            return False
        time.sleep(_OPEN_AGAIN_SECONDS)
        return True

    try:
        return retrying(opening, wait=wait)
    except ImportError:
        raise StorageError(
            f"the driver of {shown(parsed)} is not installed: pip install 'ecgopt[mysql]' for "
            "MySQL and MariaDB; PostgreSQL's (psycopg) comes with ecgopt as "
            "postgresql+psycopg://"
        ) from None
    except (StorageError, SQLAlchemyError, OSError, RuntimeError) as error:
        # The text of the original error may quote the URL, so it is never chained.
        cause = error.__cause__ or error
        text = words_of(getattr(cause, "orig", None) or cause, parsed)
        raise StorageError(f"cannot open {shown(parsed)}: {text}; {_remedy(text)}") from None


_OPEN_AGAIN_SECONDS = 0.5
_BUSY_SECONDS = 600.0
_BUSY = re.compile(
    r"too many|connection slots|is (starting up|shutting down)|in recovery mode|max_client_conn|"
    r"no more connections",
    re.IGNORECASE,
)
"""What a server says that is there and has no room, or starts or stops."""


def _remedy(text: str) -> str:
    if re.search(r"too many|connection slots", text, re.IGNORECASE):
        return (
            "each worker opens at most two connections: start fewer workers, or raise "
            "max_connections on the server"
        )
    if re.search(r"ssl|tls", text, re.IGNORECASE):
        return (
            "set up TLS on the server (storage/README.md), or accept that password and data can "
            "be read on the way with --insecure"
        )
    return "check the address, the password and that the server runs"


def _engine_options(url: URL) -> dict[str, Any]:
    options = {**_ENGINE_OPTIONS[family(url)]}
    options["connect_args"] = {**options["connect_args"], **transport_options(url)}
    if not _is_in_memory(url):
        options["poolclass"] = PatientPool
        if family(url) == "sqlite" and "uri" not in url.query:
            Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    return options


def _for_pooler(url: URL, options: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's options, without what a pooler of PostgreSQL connections cannot keep.

    Behind one, as PgBouncer in transaction mode, each transaction may meet another connection of
    the server: nothing may be prepared there, and the timeouts are set in each transaction.
    """
    if family(url) != "postgresql":
        return options
    arguments = options["connect_args"]
    probe = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=arguments)
    add_listeners(probe)
    try:
        with probe.connect() as connection:
            timeout = connection.exec_driver_sql("SHOW lock_timeout").scalar()
    except StorageError as error:
        if "unsupported startup parameter" not in str(error):
            raise
        timeout = None
    if timeout == _TIMEOUTS["lock_timeout"]:
        return options
    kept = {name: value for name, value in arguments.items() if name != "options"}
    return {**options, "connect_args": {**kept, "prepare_threshold": None}}


def is_pooled(connection: Connection) -> bool:
    """Return whether a pooler stands between this process and PostgreSQL."""
    driver = connection.connection.dbapi_connection
    return getattr(driver, "prepare_threshold", 0) is None


def _for_read_only_folder(url: URL) -> URL:
    """Return the URL under which SQLite reads a file without writing next to it, where it must.

    Raises:
        StorageError: the newest rows are in a write-ahead log that cannot be read there.
    """
    if family(url) != "sqlite" or _is_in_memory(url):
        return url
    path = Path(url.database or "")
    if os.access(path.parent, os.W_OK):
        return url
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StorageError(
            f"{path} was copied while it was in use, and its folder is read-only: copy the folder "
            "to where you may write, and name it with --workspace"
        )
    query = {"mode": "ro", "immutable": "1", "uri": "true"}
    return url.set(database=f"file:{quote(str(path.resolve()))}", query=query)


def _is_in_memory(url: URL) -> bool:
    return family(url) == "sqlite" and url.database in (None, "", ":memory:")


def add_listeners(engine: Engine) -> None:
    """Let the engine's connections keep the rules of its back end, and translate its errors."""
    translate_errors(engine)
    match engine.dialect.name:
        case "sqlite":
            _begin_immediately(engine)
            if not _is_in_memory(engine.url) and "uri" not in engine.url.query:
                _notice_another_file(engine)
        case "postgresql":
            _wait_no_longer_than_allowed(engine)
            _limit_transactions(engine)
        case _:
            return  # pymysql has a read_timeout of its own


def _wait_no_longer_than_allowed(engine: Engine) -> None:
    from ecgopt.database.postgresql import PatientConnection

    @event.listens_for(engine, "do_connect")
    def _connect(
        _dialect: object,
        _record: object,
        arguments: list[Any],
        options: dict[str, Any],
    ) -> "psycopg.Connection[Any]":
        return PatientConnection.connect(*arguments, **options)


def _limit_transactions(engine: Engine) -> None:
    """Set the timeouts in each transaction behind a pooler; else the connection has them."""

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if is_pooled(connection):
            connection.exec_driver_sql(_SET_TIMEOUTS)


def _notice_another_file(engine: Engine) -> None:
    """Refuse an SQLite file that another took the place of: its old content would still be used."""
    path = Path(engine.url.database or "")
    known: list[tuple[int, int] | None] = []

    def identity() -> tuple[int, int] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @event.listens_for(engine, "first_connect")
    def _connect(_connection: object, _record: object) -> None:
        known.append(identity())

    @event.listens_for(engine, "checkout")
    def _checkout(_connection: object, _record: object, _proxy: object) -> None:
        if identity() not in known:
            known.clear()  # another new file may get the number of the first
            raise StorageError(
                f"the database file {path} was replaced or removed while it was in use: stop all "
                "workers and run the same command again"
            )


def _begin_immediately(engine: Engine) -> None:
    """Make SQLite use WAL, and take the write lock at the beginning of each transaction.

    Unpatched, the SELECT before an UPDATE runs outside the write transaction, and eight processes
    popped 44 of 200 waiting trials twice; patched, none.
    """

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connection
        connection.isolation_level = None  # stop sqlite3's own late BEGIN
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_MILLISECONDS}")
        _write_ahead(cursor)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(_READS_ONLY):
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.exec_driver_sql("BEGIN")
        elif options.get(LOOKS_ONLY):
            connection.exec_driver_sql("BEGIN")
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _write_ahead(cursor: Any) -> None:  # noqa: ANN401 - DBAPI cursor
    # While others open the same new file, SQLite refuses this switch without waiting for them.
    give_up_at = time.monotonic() + _SQLITE_BUSY_MILLISECONDS / 1000

    def switch() -> None:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if duration_of(error) != "transient":
                raise
            raise DatabaseUnavailable(f"write-ahead log: {error}") from error

    def wait(_error: DatabaseUnavailable) -> bool:
        time.sleep(_SQLITE_RETRY_SECONDS)
        return time.monotonic() < give_up_at

    retrying(switch, wait=wait)


def quiet_optuna() -> None:
    """Keep the logs of Optuna, and of Alembic that sets up its tables, to warnings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
