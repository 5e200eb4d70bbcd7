"""Opening a comparison that has begun, from its study file and the usual options."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.database.engine import Database
    from ecgopt.study_file.spec import StudySpec
    from ecgopt.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Begun:
    """A comparison that exists in its database."""

    spec: "StudySpec"
    database: "Database"
    workspace: "Workspace"


def open_begun(study: Path, storage: str | None, workspace: Path | None) -> Begun:
    """Return the comparison of a study file, with what it was extended by; nothing is created.

    Raises:
        UserError: it has not begun in this database.
        StudyFileError: the study file breaks a rule.
        StorageError: the database cannot be opened.
    """
    from ecgopt.comparison.extensions import extended, extensions_of
    from ecgopt.comparison.opening import stored_comparison
    from ecgopt.database.engine import open_database, quiet_optuna
    from ecgopt.database.tables import create_tables
    from ecgopt.database.url import storage_url
    from ecgopt.errors import UserError
    from ecgopt.study_file.reading import load_spec
    from ecgopt.workspace import Workspace, default_workspace

    spec = load_spec(study)
    place = default_workspace() if workspace is None else Workspace(workspace)
    quiet_optuna()
    database = open_database(storage_url(storage, place.sqlite_file))
    create_tables(database)
    if stored_comparison(database, spec.name) is None:
        raise UserError(
            f"study {spec.name!r} has not begun in {database.describe()}: run `ecgopt run {study}`"
        )
    return Begun(extended(spec, extensions_of(database, spec.name)), database, place)
