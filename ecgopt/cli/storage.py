"""`ecgopt storage`: prepares, checks, backs up and restores the shared database."""

from pathlib import Path

from cyclopts import App

from ecgopt.cli.options import DEFAULT_PLACE, Place, PlaceOptions
from ecgopt.cli.output import print_lines, print_table

app = App(name="storage", help="Prepare, check, back up and restore the shared database.")


@app.command
def init(*, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Create the missing tables; the first `ecgopt run` does this too.

    Example: `ECGOPT_STORAGE=postgresql+psycopg://me@db/ecg ecgopt storage init`

    Args:
        place: Where the database and the files are.
    """
    from ecgopt.database.engine import open_database
    from ecgopt.database.tables import create_tables
    from ecgopt.database.url import storage_url

    database = open_database(storage_url(place.storage, _sqlite_file(place)))
    create_tables(database)
    print_lines(f"ready: {database.describe()}")


@app.command
def check(*, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Measure whether the database is fit for many workers, and give advice.

    Exit code 2 when something must be fixed.

    Example: `ecgopt storage check`

    Args:
        place: Where the database and the files are.
    """
    from rich.table import Table

    from ecgopt.database.engine import open_database, quiet_optuna
    from ecgopt.database.health import examine
    from ecgopt.database.tables import add_tables
    from ecgopt.errors import UserError

    quiet_optuna()
    database = open_database(_existing_url(place))
    add_tables(database)
    findings = list(examine(database))
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("property", "value", "verdict", "advice"):
        table.add_column(column, overflow="fold")
    for found in findings:
        table.add_row(found.name, found.value, found.verdict, found.advice)
    print_table(table)
    to_fix = [found.name for found in findings if found.verdict == "mend"]
    if to_fix:
        raise UserError(f"fix before running many workers: {', '.join(to_fix)}")


@app.command
def backup(file: Path, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Write the whole database to a new file, while workers may run.

    SQLite is copied by its own backup call, PostgreSQL by pg_dump, MySQL and MariaDB by
    mariadb-dump.

    Example: `ecgopt storage backup monday.backup`

    Args:
        file: New file.
        place: Where the database and the files are.
    """
    from ecgopt.database.backup import back_up

    back_up(_existing_url(place), file)
    print_lines(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


@app.command
def restore(file: Path, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Fill an empty database from a backup.

    Example: `ecgopt storage restore monday.backup`

    Args:
        file: Written by `ecgopt storage backup` from the same kind of database.
        place: Where the database and the files are.
    """
    from ecgopt.database import backup as backups
    from ecgopt.database.url import storage_url

    backups.restore(storage_url(place.storage, _sqlite_file(place)), file)
    print_lines(f"restored {file}")


def _sqlite_file(place: Place) -> Path:
    from ecgopt.workspace import chosen_workspace

    return chosen_workspace(place.workspace).sqlite_file


def _existing_url(place: Place) -> str:
    from ecgopt.database.url import existing_url

    return existing_url(place.storage, _sqlite_file(place))
