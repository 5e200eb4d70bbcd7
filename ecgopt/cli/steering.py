"""`ecgopt study pause|resume|extend|delete`: steering a study that has begun."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.tuning.workspace import Workspace


def pause(study: Path, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Let workers begin nothing new; the trials that run now go on to their end.

    Workers stay and wait. To free their machines, stop them as well: no epoch is lost by it.

    Example: `ecgopt study pause studies/demo.toml`

    Args:
        study: Study file.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.cli.begun import open_begun
    from ecgopt.workers.pausing import pause as pause_comparison

    begun = open_begun(study, storage, workspace)
    is_new = pause_comparison(begun.database, begun.spec.name)
    _say(f"{begun.spec.name}: {'paused' if is_new else 'was paused already'}")


def resume(study: Path, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Let workers begin trials again after a pause.

    Example: `ecgopt study resume studies/demo.toml`

    Args:
        study: Study file.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.cli.begun import open_begun
    from ecgopt.workers.pausing import resume as resume_comparison

    begun = open_begun(study, storage, workspace)
    was_paused = resume_comparison(begun.database, begun.spec.name)
    _say(f"{begun.spec.name}: {'resumed' if was_paused else 'was not paused'}")


def extend(
    study: Path, *, trials: int, storage: str | None = None, workspace: Path | None = None
) -> None:
    """Raise the number of trials of every study of the file, all arms alike.

    The study file may stay as it is. The extension is recorded and stands in the report, with the
    number of sealed-test openings that came before it; winners are chosen anew when the new trials
    are done, and a final fit whose winner stays keeps its scores.

    Example: `ecgopt study extend studies/demo.toml --trials 20`

    Args:
        study: Study file.
        trials: Trials of each study in all, the present ones included.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.cli.begun import open_begun
    from ecgopt.workers.extension import extend as extend_comparison

    begun = open_begun(study, storage, workspace)
    found = extend_comparison(begun.database, begun.spec, trials)
    _say(f"{begun.spec.name}: {found}")
    _say(f"start workers for the new trials: ecgopt run {study}")


def delete(
    study: Path,
    *,
    yes: bool = False,
    files: bool = False,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Delete a study from the database: trials, results, items and the record of its openings.

    Asks for the study's name. Refused while workers are at work on it.

    Example: `ecgopt study delete studies/demo.toml --files`

    Args:
        study: Study file; it is kept.
        yes: Do not ask.
        files: Remove the study's checkpoints, predictions and logs in the workspace as well;
            prepared data stay, because other studies share them.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    import shutil

    from ecgopt.cli.begun import open_begun
    from ecgopt.workers.removal import remove_comparison

    begun = open_begun(study, storage, workspace)
    name = begun.spec.name
    if not yes:
        _ask_for(name, begun.database.describe())
    _say(f"{name}: deleted {remove_comparison(begun.database, name)} studies")
    for folder in _folders(begun.workspace, name):
        if files:
            shutil.rmtree(folder)
        _say(f"{'removed' if files else 'left'}: {folder}")


def _ask_for(name: str, place: str) -> None:
    import sys

    from ecgopt.errors import UserError

    sys.stderr.write(f"This deletes study {name!r} from {place}. Type its name to go on: ")
    sys.stderr.flush()
    if (typed := sys.stdin.readline().strip()) != name:
        raise UserError(f"nothing was deleted: {name!r} must be typed, but got {typed!r}")


def _folders(workspace: "Workspace", comparison: str) -> list[Path]:
    return [folder for folder in workspace.own_folders(comparison) if folder.exists()]


def _say(line: str) -> None:
    from rich.console import Console

    Console().print(line, soft_wrap=True, highlight=False, markup=False)
