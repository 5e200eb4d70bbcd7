"""`ecgopt storage`: preparing, checking, saving and restoring the shared database."""

from pathlib import Path

from cyclopts import App

app = App(name="storage", help="Prepare, check, back up and restore the shared database.")


@app.command
def init(*, storage: str | None = None, workspace: Path | None = None) -> None:
    """Create the tables that are missing; the first `ecgopt run` does it too.

    Example: `ECGOPT_STORAGE=postgresql+psycopg://me@db/ecg ecgopt storage init`

    Args:
        storage: Database URL without a password; by default $ECGOPT_STORAGE or SQLite in the
            workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console

    from ecgopt.database.engine import open_database
    from ecgopt.database.tables import create_tables

    database = open_database(_url(storage, workspace))
    create_tables(database)
    Console().print(f"ready: {database.describe()}", highlight=False, markup=False, soft_wrap=True)


@app.command
def check(*, storage: str | None = None, workspace: Path | None = None) -> None:
    """Measure whether the database is fit for many workers, and say what to do.

    Exit code 2 when something must be mended.

    Example: `ecgopt storage check`

    Args:
        storage: Database URL without a password; by default $ECGOPT_STORAGE or SQLite in the
            workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console
    from rich.table import Table

    from ecgopt.database.engine import open_database, quiet_optuna
    from ecgopt.database.health import examine
    from ecgopt.database.tables import add_tables
    from ecgopt.errors import UserError

    quiet_optuna()
    database = open_database(_url(storage, workspace))
    add_tables(database)
    findings = list(examine(database))
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("property", "value", "verdict", "advice"):
        table.add_column(column, overflow="fold")
    for found in findings:
        table.add_row(found.name, found.value, found.verdict, found.advice)
    Console().print(table, highlight=False, markup=False)
    to_mend = [found.name for found in findings if found.verdict == "mend"]
    if to_mend:
        raise UserError(f"to be mended before many workers use it: {', '.join(to_mend)}")


@app.command
def backup(file: Path, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Write the whole database to a new file; workers may go on meanwhile.

    SQLite by its own backup call, PostgreSQL by pg_dump, MySQL and MariaDB by mariadb-dump.

    Example: `ecgopt storage backup monday.backup`

    Args:
        file: New file.
        storage: Database URL without a password; by default $ECGOPT_STORAGE or SQLite in the
            workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console

    from ecgopt.database.backup import back_up

    back_up(_url(storage, workspace), file)
    size = file.stat().st_size / 1e6
    Console().print(f"{file}: {size:.1f} MB", highlight=False, markup=False, soft_wrap=True)


@app.command
def restore(file: Path, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Fill an empty database from a backup.

    Example: `ecgopt storage restore monday.backup`

    Args:
        file: Written by `ecgopt storage backup` from the same kind of database.
        storage: Database URL without a password; by default $ECGOPT_STORAGE or SQLite in the
            workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console

    from ecgopt.database import backup as backups

    url = _url(storage, workspace)
    backups.restore(url, file)
    Console().print(f"restored {file}", highlight=False, markup=False, soft_wrap=True)


def _url(storage: str | None, workspace: Path | None) -> str:
    from ecgopt.database.url import storage_url
    from ecgopt.workspace import chosen_workspace

    return storage_url(storage, chosen_workspace(workspace).sqlite_file)
