"""`ecgopt study pause|resume|enqueue|extend|delete`: steering a study that has begun."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecgopt.cli.options import StudyFile

if TYPE_CHECKING:
    from ecgopt.workspace import Workspace


def pause(study: StudyFile, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Let workers begin nothing new; the trials that run now go on to their end.

    Workers stay and wait. To free their machines, stop them as well: no epoch is lost by it.

    Example: `ecgopt study pause studies/demo.toml`

    Args:
        study: Study file.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.comparison.open_study import open_begun
    from ecgopt.queue.pausing import pause as pause_comparison

    begun = open_begun(study, storage, workspace)
    is_new = pause_comparison(begun.database, begun.spec.name)
    _say(f"{begun.spec.name}: {'paused' if is_new else 'was paused already'}")


def resume(study: StudyFile, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Let workers begin trials again after a pause.

    Example: `ecgopt study resume studies/demo.toml`

    Args:
        study: Study file.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.comparison.open_study import open_begun
    from ecgopt.queue.pausing import resume as resume_comparison

    begun = open_begun(study, storage, workspace)
    was_paused = resume_comparison(begun.database, begun.spec.name)
    _say(f"{begun.spec.name}: {'resumed' if was_paused else 'was not paused'}")


def enqueue(
    study: StudyFile,
    *,
    regime: str,
    values: Annotated[tuple[str, ...], Parameter(name="--set", consume_multiple=True)],
    label: str = "enqueued",
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Add a configuration of your own as a labelled run beside the fair budget.

    It is trained to its end in every study of the regime, and `ecgopt trials` lists it. It does not
    count against the budget, cannot win, and neither sampler nor pruner knows of it.

    Example: `ecgopt study enqueue studies/demo.toml --regime scratch --set learning_rate=1e-3`

    Args:
        study: Study file.
        regime: The regime to train.
        values: Parameters as NAME=VALUE; what is not set is as in the file's [recipe].
        label: What the run is called in lists.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.comparison.open_study import open_begun
    from ecgopt.errors import UserError
    from ecgopt.jobs.enqueued import checked_parameters
    from ecgopt.jobs.enqueued import enqueue as enqueue_items
    from ecgopt.study_file.cells import expand_studies

    begun = open_begun(study, storage, workspace)
    studies = [key for key in expand_studies(begun.spec) if key.regime == regime]
    if not studies:
        raise UserError(
            f"`regime` must be one of {', '.join(begun.spec.regimes)}, but got {regime!r}"
        )
    parameters = checked_parameters(studies, dict(map(_name_and_value, values)))
    for key in enqueue_items(begun.database, begun.spec.name, studies, parameters, label):
        _say(key)
    _say(f"start workers for it: ecgopt run {study}")


def _name_and_value(text: str) -> tuple[str, str]:
    from ecgopt.errors import UserError

    name, sign, value = text.partition("=")
    if not sign:
        raise UserError(f"--set must look like learning_rate=1e-3, but got {text!r}")
    return name.strip(), value.strip()


def extend(
    study: StudyFile,
    *,
    trials: int | None = None,
    replicates: int | None = None,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Raise the number of trials of every study, or of replicates of every cell, all arms alike.

    The study file may stay as it is. The extension is recorded and stands in the report, with the
    number of sealed-test openings that came before it. After more trials winners are chosen anew,
    and a final fit whose winner stays keeps its scores; more replicates leave the others alone.

    Example: `ecgopt study extend studies/demo.toml --replicates 5`

    Args:
        study: Study file.
        trials: Trials of each study in all, the present ones included.
        replicates: Replicates of each cell in all, the present ones included.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.comparison.extension import extend as extend_comparison
    from ecgopt.comparison.open_study import open_begun

    begun = open_begun(study, storage, workspace)
    found = extend_comparison(begun.database, begun.spec, trials=trials, replicates=replicates)
    _say(f"{begun.spec.name}: {found}")
    _say(f"start workers for what was added: ecgopt run {study}")


def delete(
    study: StudyFile,
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

    from ecgopt.comparison.open_study import open_begun
    from ecgopt.dashboard.artifacts import kept_files
    from ecgopt.queue.deletion import remove_comparison
    from ecgopt.study_file.cells import expand_studies, study_name

    begun = open_begun(study, storage, workspace)
    name = begun.spec.name
    if not yes:
        _ask_for(name, begun.database.describe())
    _say(f"{name}: deleted {remove_comparison(begun.database, name)} studies")
    for folder in _folders(begun.workspace, name):
        if files:
            shutil.rmtree(folder)
        _say(f"{'removed' if files else 'left'}: {folder}")
    kept = kept_files(
        begun.workspace.artifacts, [study_name(name, key) for key in expand_studies(begun.spec)]
    )
    for path in kept if files else ():
        path.unlink(missing_ok=True)
    if kept:
        _say(f"{'removed' if files else 'left'}: {len(kept)} files in {kept[0].parent}")


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
