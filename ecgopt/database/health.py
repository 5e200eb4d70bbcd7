"""Whether a database is fit for many workers: each property measured, and what to do about it."""

import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
import sqlalchemy
from sqlalchemy import Connection, text

from ecgopt.database.engine import Database, is_pooled
from ecgopt.database.optuna.tables import optuna_revisions
from ecgopt.database.tables import OTHER_VERSION, missing_columns
from ecgopt.database.url import is_local

CONNECTIONS_PER_WORKER = 2

_N_REPORTS = 30
_SLOW_REPORT_MS = 100.0
_FEW_CONNECTIONS = 8
_MOST_SKEW_SECONDS = 2.0
_LONG_LOCK_MS = 1000.0
_NETWORK_FILE_SYSTEMS = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "beegfs", "gpfs", "ceph",
    "fuse.ceph", "fuse.glusterfs", "9p", "afs", "virtiofs",
)  # fmt: skip

_LOCK_WAITS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
_CONNECTIONS = {
    "postgresql": "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')",
    "mysql": "SELECT @@max_connections - (SELECT variable_value FROM"
    " information_schema.global_status WHERE variable_name = 'Threads_connected')",
}
_TLS = {
    "postgresql": "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl",
    "mysql": "SELECT variable_value FROM information_schema.session_status"
    " WHERE variable_name = 'Ssl_version'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One property of the database."""

    name: str
    value: str
    verdict: Literal["ok", "note", "mend"] = "ok"
    """`mend`: workers would suffer; `note`: worth knowing."""
    advice: str = ""


def examine(database: Database) -> Iterator[Finding]:
    """Yield what was found, measured now; a study that is made for it is removed again."""
    yield Finding(name="database", value=database.describe())
    yield _report_latency(database)
    with database.transaction() as connection:
        yield _clock(connection, database)
        yield from _schema(connection)
    if database.dialect == "sqlite":
        yield from _sqlite(database)
    else:
        yield from _server(database)


def _report_latency(database: Database) -> Finding:
    study = optuna.create_study(storage=database.optuna, study_name=f"check-{uuid.uuid4().hex}")
    try:
        trial = study.ask()
        seconds = []
        for step in range(_N_REPORTS):
            begun = time.perf_counter()
            trial.report(0.5, step)
            seconds.append(time.perf_counter() - begun)
    finally:
        optuna.delete_study(study_name=study.study_name, storage=database.optuna)
    median = 1000 * statistics.median(seconds)
    slow = median > _SLOW_REPORT_MS
    return Finding(
        name="report latency",
        value=f"p50 {median:.1f} ms, longest {1000 * max(seconds):.1f} ms",
        verdict="note" if slow else "ok",
        advice="an epoch waits for it: move the database nearer, or onto a faster disk"
        if slow
        else "",
    )


def _clock(connection: Connection, database: Database) -> Finding:
    before = time.time()
    there = float(connection.execute(sqlalchemy.select(database.now)).scalar_one())
    skew = there - (before + time.time()) / 2
    off = abs(skew) > _MOST_SKEW_SECONDS
    return Finding(
        name="clock",
        value=f"{skew:+.2f} s against this host",
        verdict="note" if off else "ok",
        advice="leases use the database's clock alone, but times in logs will not agree: run NTP"
        if off
        else "",
    )


def _schema(connection: Connection) -> Iterator[Finding]:
    found, needed = optuna_revisions(connection)
    yield Finding(
        name="Optuna's schema",
        value=f"{found}, this Optuna needs {needed}" if found != needed else str(found),
        verdict="ok" if found == needed else "mend",
        advice=""
        if found == needed
        else "back up, then run `optuna storage upgrade`, or install the Optuna that made it",
    )
    lacking = missing_columns(connection)
    yield Finding(
        name="ecgopt's schema",
        value=f"lacks {', '.join(lacking)}" if lacking else "complete",
        verdict="mend" if lacking else "ok",
        advice=OTHER_VERSION if lacking else "",
    )


def _sqlite(database: Database) -> Iterator[Finding]:
    begun = time.perf_counter()
    with database.transaction() as connection:  # BEGIN IMMEDIATE: waits for the write lock
        waited = 1000 * (time.perf_counter() - begun)
        mode = str(connection.execute(text("PRAGMA journal_mode")).scalar_one())
    held_long = waited > _LONG_LOCK_MS
    yield Finding(
        name="lock waits",
        value=f"{waited:.0f} ms for the write lock",
        verdict="note" if held_long else "ok",
        advice="something holds the file long: close other programs, or use a server"
        if held_long
        else "",
    )
    yield Finding(
        name="journal mode",
        value=mode,
        verdict="ok" if mode == "wal" else "mend",
        advice="" if mode == "wal" else "readers block writers: keep the file on a local disk",
    )
    path = Path(database.engine.url.database or ":memory:")
    mounted_as = file_system_of(path.resolve(), Path("/proc/mounts").read_text())
    is_remote = mounted_as in _NETWORK_FILE_SYSTEMS
    yield Finding(
        name="file system",
        value=mounted_as,
        verdict="mend" if is_remote else "ok",
        advice="SQLite cannot trust its locks: move the file to a local disk, or use a server"
        if is_remote
        else "",
    )


def _server(database: Database) -> Iterator[Finding]:
    kind = database.dialect
    with database.transaction() as connection:
        waiting = int(connection.execute(text(_LOCK_WAITS[kind])).scalar_one())
        left = int(connection.execute(text(_CONNECTIONS[kind])).scalar_one())
        tls = connection.execute(text(_TLS[kind])).scalar()
        pooled = is_pooled(connection)
    yield Finding(
        name="lock waits",
        value=f"{waiting} sessions wait for a lock",
        verdict="note" if waiting else "ok",
        advice="normal for a moment; if it stays, find the transaction that holds it"
        if waiting
        else "",
    )
    if kind == "postgresql":
        yield Finding(
            name="pooler",
            value="one, so nothing is prepared and each transaction sets its timeouts"
            if pooled
            else "none",
        )
    few = left < _FEW_CONNECTIONS
    yield Finding(
        name="connections left",
        value=f"{left}, enough for {max(0, left) // CONNECTIONS_PER_WORKER} workers more",
        verdict="mend" if few else "ok",
        advice="raise max_connections on the server: a worker opens at most two" if few else "",
    )
    local = is_local(database.engine.url)
    yield Finding(
        name="TLS",
        value=str(tls) if tls else "off" + (", on this host" if local else ""),
        verdict="ok" if tls or local else "mend",
        advice="" if tls or local else "set it up on the server: storage/README.md",
    )


def file_system_of(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds `path`, from the text of /proc/mounts."""
    fields = (line.split() for line in mounts.splitlines())
    places = {Path(mount.encode().decode("unicode_escape")): kind for _, mount, kind, *_ in fields}
    return next((places[place] for place in (path, *path.parents) if place in places), "unknown")
