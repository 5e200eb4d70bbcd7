"""Arguments and options that several commands share, each with one wording."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecgopt.errors import UserError

if TYPE_CHECKING:
    from ecgopt.comparison.open_study import Begun

FLAT = Parameter(name="*")
"""The fields of a dataclass are options of the command."""


def _exists(_type: object, path: Path | None) -> None:
    # Before the command imports anything: a mistyped name is answered immediately.
    if path is not None and not path.exists():
        raise UserError(f"{path}: no such file: check its path")


ExistingFile = Annotated[Path, Parameter(validator=_exists)]
"""The path of a study file or bundle that exists."""


def check_regime(regime: str | None, known: Sequence[str]) -> None:
    """Check that --regime names one of the study's regimes, or none.

    Raises:
        UserError: it names another.
    """
    if regime is not None and regime not in known:
        raise UserError(f"--regime must be one of {', '.join(known)}, but is {regime!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the database and the files of a study are."""

    storage: str | None = None
    """Database URL without a password; by default $ECGOPT_STORAGE, or SQLite in the workspace."""
    workspace: Path | None = None
    """Folder of the embedded database, data, checkpoints and predictions, shared by all workers; by
    default $ECGOPT_WORKSPACE, or storage in the current folder."""

    def check_database(self) -> None:
        """Check that a database is there, before anything heavy is imported.

        Raises:
            StorageError: there is none.
        """
        from ecgopt.database.url import existing_url
        from ecgopt.workspace import chosen_workspace

        existing_url(self.storage, chosen_workspace(self.workspace).sqlite_file)

    def open_begun(self, study: Path) -> "Begun":
        """Return the comparison of a study file; nothing is created.

        Raises:
            UserError: it has not begun in this database, or there is no database.
        """
        self.check_database()
        from ecgopt.comparison.open_study import open_begun

        return open_begun(study, self.storage, self.workspace)


PlaceOptions = Annotated[Place, FLAT]
DEFAULT_PLACE = Place()
