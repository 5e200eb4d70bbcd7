"""`ecgopt study pause|resume|retry|enqueue|extend|delete`: steers a study that has begun."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecgopt.cli.options import DEFAULT_PLACE, ExistingFile, PlaceOptions
from ecgopt.cli.output import print_lines

if TYPE_CHECKING:
    from ecgopt.comparison.open_study import Begun


def pause(study: ExistingFile, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Stop starting trials; running ones finish.

    Workers stay and wait. To free their machines, stop them as well; no finished epoch is lost.

    Example: `ecgopt study pause studies/demo.toml`

    Args:
        study: Study file.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    from ecgopt.queue.pausing import pause as pause_comparison

    is_new = pause_comparison(begun.database, begun.spec.name)
    print_lines(f"{begun.spec.name}: {'paused' if is_new else 'was paused already'}")


def resume(study: ExistingFile, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Start trials again after a pause.

    Example: `ecgopt study resume studies/demo.toml`

    Args:
        study: Study file.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    from ecgopt.queue.pausing import resume as resume_comparison

    was_paused = resume_comparison(begun.database, begun.spec.name)
    print_lines(f"{begun.spec.name}: {'resumed' if was_paused else 'was not paused'}")


def retry(
    study: ExistingFile,
    *,
    item: tuple[str, ...] = (),
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Try again what was set aside, and resume a study that paused itself.

    Fix the cause first: `ecgopt status` shows it. A trial continues under its own number, from its
    last checkpoint. The report names the items.

    Example: `ecgopt study retry studies/demo.toml`

    Args:
        study: Study file.
        item: Only these items, named as `ecgopt status` names them; by default all.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    from ecgopt.cli.output import print_lines
    from ecgopt.comparison.retry import retry_items

    keys = retry_items(begun.database, begun.spec, item or None)
    count = f"{len(keys)} item{'s' * (len(keys) != 1)}"
    print_lines(*keys, f"{count} will be tried again: ecgopt run {study}")


def enqueue(
    study: ExistingFile,
    *,
    regime: str,
    values: Annotated[tuple[str, ...], Parameter(name="--set", consume_multiple=True)],
    label: str = "enqueued",
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Add a configuration of your own as a labelled run outside the budget.

    It is trained to its end in every study of the regime, and `ecgopt trials` lists it. It does not
    count against the budget and cannot win, and neither sampler nor pruner uses its result.

    Example: `ecgopt study enqueue studies/demo.toml --regime scratch --set learning_rate=1e-3`

    Args:
        study: Study file.
        regime: The regime to train.
        values: Parameters as NAME=VALUE; the others keep their value in [recipe].
        label: Name of the run in lists.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    from ecgopt.errors import UserError
    from ecgopt.jobs.enqueued import checked_parameters
    from ecgopt.jobs.enqueued import enqueue as enqueue_items
    from ecgopt.study_file.cells import expand_studies

    studies = [key for key in expand_studies(begun.spec) if key.regime == regime]
    if not studies:
        raise UserError(
            f"--regime must be one of {', '.join(begun.spec.regimes)}, but is {regime!r}"
        )
    parameters = checked_parameters(begun.spec, studies, dict(map(_name_and_value, values)))
    keys = enqueue_items(begun.database, begun.spec.name, studies, parameters, label)
    print_lines(*keys, f"next, to train it: ecgopt run {study}")


def _name_and_value(text: str) -> tuple[str, str]:
    from ecgopt.errors import UserError

    name, sign, value = text.partition("=")
    if not sign:
        raise UserError(f"--set must look like learning_rate=1e-3, but is {text!r}")
    return name.strip(), value.strip()


def extend(
    study: ExistingFile,
    *,
    trials: int | None = None,
    replicates: int | None = None,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Raise the number of trials of every study, or of replicates of every cell, all arms alike.

    The study file does not need to change. The report shows the extension, and how often the sealed
    test had been opened before it. After more trials, winners are chosen again, and a final fit
    keeps its scores if its winner stays. More replicates do not change the present ones.

    Example: `ecgopt study extend studies/demo.toml --replicates 5`

    Args:
        study: Study file.
        trials: Total number of trials of each study, the present ones included.
        replicates: Total number of replicates of each cell, the present ones included.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    from ecgopt.comparison.extension import extend as extend_comparison

    found = extend_comparison(begun.database, begun.spec, trials=trials, replicates=replicates)
    print_lines(f"{begun.spec.name}: {found}")
    print_lines(f"next, to run what was added: ecgopt run {study}")


def delete(
    study: ExistingFile,
    *,
    yes: bool = False,
    files: bool = False,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Delete a study from the database: trials, results, items and the record of its openings.

    Asks for the study's name. Refused while workers run it.

    Example: `ecgopt study delete studies/demo.toml --files`

    Args:
        study: Study file; it is kept.
        yes: Do not ask.
        files: Delete the study's checkpoints, predictions and logs in the workspace as well; the
            prepared data are kept, because other studies share them.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    import shutil

    from ecgopt.dashboard.artifacts import kept_files
    from ecgopt.queue.deletion import remove_comparison
    from ecgopt.study_file.cells import expand_studies, study_name

    name = begun.spec.name
    if not yes:
        _ask_for(name, begun.database.describe())
    folders = _folders(begun)
    print_lines(f"{name}: deleted {remove_comparison(begun.database, name)} studies")
    for folder in folders:
        if files:
            shutil.rmtree(folder)
        print_lines(f"{'deleted' if files else 'kept'}: {folder}")
    kept = kept_files(
        begun.workspace.artifacts, [study_name(name, key) for key in expand_studies(begun.spec)]
    )
    for path in kept if files else ():
        path.unlink(missing_ok=True)
    if kept:
        print_lines(f"{'deleted' if files else 'kept'}: {len(kept)} files in {kept[0].parent}")


def _ask_for(name: str, place: str) -> None:
    import sys

    from ecgopt.errors import UserError

    sys.stderr.write(f"This deletes study {name!r} from {place}. Type its name to continue: ")
    sys.stderr.flush()
    if (typed := sys.stdin.readline().strip()) != name:
        raise UserError(f"nothing was deleted: {name!r} must be typed, but {typed!r} was")


def _folders(begun: "Begun") -> list[Path]:
    from ecgopt.database.comparisons import stored_comparison

    name = begun.spec.name
    stored = stored_comparison(begun.database, name)
    assert stored is not None, "it has begun"
    return [path for path in begun.workspace.own_folders(name, stored.folder) if path.exists()]
