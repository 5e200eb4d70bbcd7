"""`ecgopt data remove`: free the space of prepared sets and fetched files."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ecgopt.cli.data_output import open_console
from ecgopt.cli.options import DEFAULT_PLACE, PlaceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


def remove(
    name: str,
    *,
    files: bool = False,
    yes: bool = False,
    to: Path | None = None,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Remove the prepared sets of a data set; the raw files stay, and `prepare` makes a set again.

    Shows what goes with its size, and asks for the name. A set that a study of the database uses
    is refused, and so is one in which `prepare` is at work.

    Example: `ecgopt data remove clinic`

    Args:
        name: Name of the data set, its description `own.toml`, or the name of one set's folder.
        files: Remove what `fetch` has brought to `data/NAME` in the workspace as well.
        yes: Do not ask.
        to: Folder of prepared sets; by default `prepared` in the workspace.
        place: Where the database and the files are.
    """
    from ecgopt.data.removal import bytes_in, fetched_files, removable, remove_folder
    from ecgopt.data.sources.own_files import own_source
    from ecgopt.errors import DataError
    from ecgopt.workspace import chosen_workspace

    workspace = chosen_workspace(place.workspace)
    name = own_source(Path(name)).name if name.endswith(".toml") else name
    raw = [fetched_files(workspace.raw_data / name)] if files else []
    try:
        found = removable(to or workspace.prepared_data, name)
    except DataError:
        if not raw:
            raise
        found = []
    users = _users(place)
    used = [each for each in found if each.name in users]
    console = open_console()
    for folder in used:
        console.print(f"kept: {folder}: study {', '.join(users[folder.name])} uses it")
    going = [*(each for each in found if each not in used), *raw]
    if not going:
        raise DataError("nothing is removed: `ecgopt study delete` the studies that use it first")
    sizes = {folder: bytes_in(folder) for folder in going}
    for folder, size in sizes.items():
        console.print(f"{size / 1e6:,.1f} MB: {folder}")
    if not yes:
        _ask_for(name, console)
    for folder in going:
        remove_folder(folder)
    console.print(f"removed {len(going)} folders, {sum(sizes.values()) / 1e6:,.1f} MB")


def _ask_for(name: str, console: "Console") -> None:
    from ecgopt.errors import UserError

    console.print(f"Type {name} to remove this:")
    if (typed := sys.stdin.readline().strip()) != name:
        raise UserError(f"nothing was removed: {name!r} must be typed, but {typed!r} was")


def _users(place: PlaceOptions) -> "Mapping[str, list[str]]":
    """Return folders of prepared sets to the studies in the database that use them."""
    from ecgopt.database.url import existing_url
    from ecgopt.errors import DatabaseMissing
    from ecgopt.workspace import chosen_workspace

    try:
        url = existing_url(place.storage, chosen_workspace(place.workspace).sqlite_file)
    except DatabaseMissing:
        return {}
    from ecgopt.database.comparisons import users_of_prepared
    from ecgopt.database.engine import open_existing
    from ecgopt.database.tables import has_tables

    database = open_existing(url, reads_only=True)
    return users_of_prepared(database) if has_tables(database) else {}
