"""Classifies database errors, and repeats what failed with an error that may pass.

Every engine translates its driver's errors by this one classification: a caller sees
`DatabaseUnavailable` (repeat it), any other `StorageError` (the user must fix it), or the error
itself, which is then a fault of the statement. This holds for Optuna's statements too.
"""

import logging
import re
import sqlite3
from collections.abc import Callable
from typing import Literal, TypeVar

from sqlalchemy import Engine, QueuePool, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from ecgopt.database.url import shown, without_secrets
from ecgopt.errors import DatabaseUnavailable, StorageError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Duration = Literal["transient", "permanent"]

_SQLITE_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_SCHEMA,
}
_SQLITE_PERMANENT = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOTADB,
}
_SQLITE_MISSING = re.compile(r"no such (table|column)|has no column named")
"""SQLite has one code for a missing table and for every fault of a statement."""

_SQLSTATE_PERMANENT = {
    "25006",  # read-only transaction
    "42501",  # insufficient privilege
    "42703",  # undefined column
    "42P01",  # undefined table
    "53100",  # disk full
    "57P04",  # database dropped
    "XX001",  # data corrupted
    "XX002",  # index corrupted
}
_SQLSTATE_PERMANENT_CLASSES = {"28", "3D", "3F"}  # refused login; no such database or schema
_SQLSTATE_TRANSIENT = {"25P03"}  # idle transaction ended by the server
_SQLSTATE_TRANSIENT_CLASSES = {"08", "40", "53", "55", "57", "58", "XX"}
_LOGIN_REFUSED = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|does not exist|not permitted|"
    r"does not support SSL|certificate"
)
"""libpq gives no SQLSTATE for a connection that was not made."""

_MYSQL_TRANSIENT = {
    *(0, 2006, 2013, 2014, 2055, 4031),  # connection lost or closed
    *(2002, 2003, 1053, 1077, 1080),  # server not there, stopping or starting
    *(1040, 1203, 1226),  # too many connections
    *(1205, 1213),  # lock wait, deadlock
    *(1152, 1158, 1159, 1160, 1161),  # network
    *(1317, 1927, 1969, 3024),  # interrupted, killed, out of time
}
_MYSQL_PERMANENT = {
    *(1044, 1045, 1129, 1142, 1143, 1227, 1698),  # denied
    *(1049, 1054, 1146),  # no such database, column or table
    *(1021, 1114),  # disk or table full
    *(1290, 1792, 1836),  # read-only
    *(1034, 1035, 1194, 1195),  # damaged table
}


def duration_of(error: BaseException | None) -> Duration | None:
    """Return whether a driver's error may pass or stays; None where the statement is at fault."""
    match error:
        case sqlite3.Error():
            return _sqlite_duration(error)
        case Exception() if type(error).__module__.startswith("psycopg"):
            return _postgres_duration(error)
        case PoolTimeout():
            return "transient"
        case Exception(args=[int() as number, *_]) if "pymysql" in type(error).__module__:
            if number in _MYSQL_TRANSIENT:
                return "transient"
            return "permanent" if number in _MYSQL_PERMANENT else None
    return None


def _sqlite_duration(error: sqlite3.Error) -> Duration | None:
    # sqlite3's own errors, such as of a closed connection, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    if code in _SQLITE_TRANSIENT:
        return "transient"
    if code in _SQLITE_PERMANENT or _SQLITE_MISSING.search(str(error)):
        return "permanent"
    return None


def _postgres_duration(error: Exception) -> Duration | None:
    import psycopg  # which is loaded, as it raised the error

    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return None
        return "permanent" if _LOGIN_REFUSED.search(str(error)) else "transient"
    if state in _SQLSTATE_PERMANENT or state[:2] in _SQLSTATE_PERMANENT_CLASSES:
        return "permanent"
    if state in _SQLSTATE_TRANSIENT or state[:2] in _SQLSTATE_TRANSIENT_CLASSES:
        return "transient"
    return None


def words_of(error: BaseException, url: URL) -> str:
    """Return the database's own words in one line, without the URL's passwords."""
    return without_secrets(" ".join(str(error).split()), url)[:300]


def translate_errors(engine: Engine) -> None:
    """Let the engine raise `DatabaseUnavailable` and `StorageError` for its driver's errors."""

    @event.listens_for(engine, "handle_error")
    def _translate(context: ExceptionContext) -> None:
        running = context.execution_context
        # SQLAlchemy itself expects an error where it asks MySQL whether a table is there, and the
        # pool where it tests a connection.
        asked = running is not None and running.execution_options.get("skip_user_error_events")
        if not asked and not context.is_pre_ping:
            raise_named(context.original_exception, engine.url)


def raise_named(error: BaseException, url: URL) -> None:
    """Raise a driver's error by our name for it; return where the statement is at fault.

    Raises:
        DatabaseUnavailable: the error may pass.
        StorageError: the error stays until the user fixes it.
    """
    text = f"database {shown(url)}: {words_of(error, url)}"
    match duration_of(error):
        case "transient":
            raise DatabaseUnavailable(text) from error
        case "permanent":
            raise StorageError(text) from error


class PatientPool(QueuePool):
    """A pool whose lack of a free connection is an error that may pass."""

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except PoolTimeout as error:
            raise DatabaseUnavailable(f"database: {error}") from error


def retrying(
    operation: Callable[[], Result], *, wait: Callable[[DatabaseUnavailable], bool]
) -> Result:
    """Return the operation's result; repeat it after errors that may pass.

    Args:
        operation: Harmless to repeat.
        wait: Waits before the next attempt, given the error; returns False to give up.

    Raises:
        DatabaseUnavailable: `wait` gave up.
        StorageError: the error stays until the user fixes it.
    """
    said = ""
    while True:
        try:
            return operation()
        except DatabaseUnavailable as error:
            if str(error) != said:  # the same words twice a second would bury the rest of the log
                said = str(error)
                logger.warning("%s; trying again", said)
            if not wait(error):
                raise
