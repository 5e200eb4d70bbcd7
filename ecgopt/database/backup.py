"""Copying a whole database into one file and back, by the tools of its own back end."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ecgopt.database.url import family, parsed_url, shown, transport_options, without_secrets
from ecgopt.errors import StorageError
from ecgopt.files import replacing


def back_up(url: str, target: Path) -> None:
    """Write the whole database to `target`, consistent although workers go on.

    Raises:
        StorageError: the target exists, the back end's tool is missing or fails.
    """
    parsed = parsed_url(url)
    if target.exists():
        raise StorageError(f"{target} exists already: name a new file")
    with replacing(target) as partial:
        match family(parsed):
            case "sqlite":
                _copy_sqlite(_sqlite_file(parsed), partial)
            case "postgresql":
                tool = _tool(("pg_dump",), "postgresql-client")
                _run(parsed, [tool, "--format=custom", f"--file={partial}", *_place(parsed)])
            case "mysql":
                tool = _tool(("mariadb-dump", "mysqldump"), "mariadb-client")
                options = ["--single-transaction", f"--result-file={partial}"]
                _run(parsed, [tool, "--no-defaults", *options, *_mysql_place(parsed)])


def restore(url: str, source: Path) -> None:
    """Fill an empty database from a file that `back_up` wrote.

    Raises:
        StorageError: the database is not empty, the back end's tool is missing or fails.
    """
    parsed = parsed_url(url)
    if not source.is_file():
        raise StorageError(f"{source} must be a file that `ecgopt storage backup` wrote")
    if family(parsed) == "sqlite":
        file = _sqlite_file(parsed, must_exist=False)
        if file.exists():
            raise StorageError(f"{file} exists already: move it away first")
        file.parent.mkdir(parents=True, exist_ok=True)
        _copy_sqlite(source, file)
        return
    _check_empty(parsed)
    if family(parsed) == "postgresql":
        tool = _tool(("pg_restore",), "postgresql-client")
        options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        _run(parsed, [tool, *options, *_place(parsed), str(source)])
        return
    tool = _tool(("mariadb", "mysql"), "mariadb-client")
    with source.open("rb") as dump:
        _run(parsed, [tool, "--no-defaults", *_mysql_place(parsed)], stdin=dump.fileno())


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise StorageError(f"cannot copy {source}: {error}") from error


def _sqlite_file(url: URL, *, must_exist: bool = True) -> Path:
    file = Path(url.database or ":memory:")
    if must_exist and not file.is_file():
        raise StorageError(f"there is no database file {file}")
    return file


def _check_empty(url: URL) -> None:
    try:
        engine = sqlalchemy.create_engine(url, connect_args=transport_options(url))
        tables = sqlalchemy.inspect(engine).get_table_names()
        engine.dispose()
    except SQLAlchemyError as error:
        said = without_secrets(" ".join(str(getattr(error, "orig", error)).split()), url)
        raise StorageError(f"cannot open {shown(url)}: {said[:300]}") from None
    if tables:
        raise StorageError(
            f"{shown(url)} must be empty, but holds {len(tables)} tables: create a new database"
        )


def _tool(names: Sequence[str], package: str) -> str:
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    raise StorageError(f"{names[0]} is not installed: install the package {package}")


def _place(url: URL) -> list[str]:
    host = url.query.get("host", url.host)
    parts = {"--host": host, "--port": url.port, "--username": url.username}
    options = [f"{name}={value}" for name, value in parts.items() if value]
    return [*options, "--no-password", f"--dbname={url.database}"]


def _mysql_place(url: URL) -> list[str]:
    parts = {
        "--host": url.host,
        "--port": url.port,
        "--user": url.username,
        "--socket": url.query.get("unix_socket"),
        "--ssl-ca": url.query.get("ssl_ca"),
    }
    options = [f"{name}={value}" for name, value in parts.items() if value]
    if "ssl" in transport_options(url):
        options.append("--ssl")
    return [*options, str(url.database)]


@dataclass(frozen=True, slots=True)
class _Secrets:
    """A URL's secrets as environment variables, which other users cannot read, unlike argv."""

    url: URL

    def environment(self) -> Mapping[str, str]:
        found = {**os.environ}
        if self.url.password:
            name = "PGPASSWORD" if family(self.url) == "postgresql" else "MYSQL_PWD"
            found[name] = str(self.url.password)
        if family(self.url) == "postgresql":
            for key in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
                value = self.url.query.get(key) or transport_options(self.url).get(key)
                if value:
                    found[f"PG{key.upper()}"] = str(value)
        return found


def _run(url: URL, command: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> None:
    done = subprocess.run(
        command,
        env=_Secrets(url).environment(),
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = without_secrets(done.stderr, url).strip().splitlines()
        said = "; ".join(lines[:2]) or f"exit code {done.returncode}"
        raise StorageError(f"{Path(command[0]).name} failed for {shown(url)}: {said}")
