"""Opens the comparison of a study file: its workspace and database, for reading or for work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecgopt.database.comparisons import check_unchanged, extended, extensions_of, stored_comparison
from ecgopt.database.engine import Database, open_database, open_existing, quiet_optuna
from ecgopt.database.tables import check_tables, has_tables
from ecgopt.database.url import existing_url, storage_url
from ecgopt.errors import StorageError, UserError
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace, chosen_workspace

if TYPE_CHECKING:
    from ecgopt.comparison.opening import OpenComparison


@dataclass(frozen=True, slots=True)
class Begun:
    """A comparison that exists in its database."""

    spec: StudySpec
    database: Database
    workspace: Workspace

    def check_unchanged(self) -> None:
        """Check that the study file says what the comparison began with.

        Raises:
            StudyMismatch: it says something else.
        """
        stored = stored_comparison(self.database, self.spec.name)
        assert stored is not None, "it has begun"
        check_unchanged(self.spec, extensions_of(self.database, self.spec.name), stored)


def open_begun(study: Path, storage: str | None, workspace: Path | None) -> Begun:
    """Return the comparison of a study file, with what it was extended by; nothing is created.

    Raises:
        UserError: it has not begun in this database.
        StudyFileError: the study file breaks a rule.
        StorageError: the database does not exist or cannot be opened.
    """
    spec = load_spec(study)
    place = chosen_workspace(workspace)
    database = open_existing(existing_url(storage, place.sqlite_file))
    has_begun = has_tables(database)
    if has_begun:
        check_tables(database)
        has_begun = stored_comparison(database, spec.name) is not None
    if not has_begun:
        raise UserError(
            f"study {spec.name!r} has not begun in {database.describe()}: run `ecgopt run {study}`"
        )
    return Begun(extended(spec, extensions_of(database, spec.name)), database, place)


def open_study(  # noqa: PLR0913 - the whole of an opening
    study: Path,
    place: Workspace,
    storage: str | None,
    *,
    n_processes: int = 1,
    on_progress: Callable[[str, int, int], None] | None = None,
    patience_seconds: float = 0.0,
    join_workspace: bool = False,
) -> "OpenComparison":
    """Open a study for work: its data prepared, its Optuna studies and work items in place.

    With patience, a server that restarts or has no connection left is asked again.

    Raises:
        UserError: the study file, the data, the workspace or the database cannot be used.
    """
    from ecgopt.comparison.opening import open_comparison

    spec = load_spec(study)
    quiet_optuna()
    try:
        place.root.mkdir(parents=True, exist_ok=True)
        url = storage_url(storage, place.sqlite_file)
        database = open_database(url, patience_seconds=patience_seconds)
    except OSError as error:
        raise StorageError(
            f"the workspace {place.root} must be writable, but: {error.strerror}: choose another "
            "with --workspace"
        ) from error
    return open_comparison(
        spec,
        database,
        place,
        n_processes=n_processes,
        on_progress=on_progress,
        join_workspace=join_workspace,
    )
