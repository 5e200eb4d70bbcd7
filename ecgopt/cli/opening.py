"""Opening what a command works on: the study file, its workspace and its database."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.comparison.opening import OpenComparison
    from ecgopt.workspace import Workspace


def chosen_workspace(option: Path | None) -> "Workspace":
    """Return the workspace of the option, of $ECGOPT_WORKSPACE, or `storage`."""
    from ecgopt.workspace import Workspace, default_workspace

    return default_workspace() if option is None else Workspace(option)


def open_study(
    study: Path,
    place: "Workspace",
    storage: str | None,
    *,
    n_processes: int = 1,
    on_progress: Callable[[str, int, int], None] | None = None,
    patience_seconds: float = 0.0,
) -> "OpenComparison":
    """Open a study for work: its data prepared, its Optuna studies and work items in place.

    With patience, a server that restarts or has no connection left is asked again.

    Raises:
        UserError: the study file, the data, the workspace or the database cannot be used.
    """
    from ecgopt.comparison.opening import open_comparison
    from ecgopt.database.engine import open_database, quiet_optuna
    from ecgopt.database.url import storage_url
    from ecgopt.errors import StorageError
    from ecgopt.study_file.reading import load_spec

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
    return open_comparison(spec, database, place, n_processes=n_processes, on_progress=on_progress)
