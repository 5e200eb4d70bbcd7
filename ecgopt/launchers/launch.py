"""Launches the workers of a study, and watches them where they depend on this process."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ecgopt.comparison.open_study import open_study
from ecgopt.comparison.opening import add_work
from ecgopt.comparison.progress import Progress, read_progress
from ecgopt.database.engine import Database
from ecgopt.errors import DatabaseUnavailable, UserError
from ecgopt.launchers.contract import Launch, Launcher, Resources
from ecgopt.launchers.local import usable_cores
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace

logger = logging.getLogger(__name__)


def launch_study(  # noqa: PLR0913 - the whole of a launch
    study: Path,
    workspace: Workspace,
    storage: str | None,
    launcher: Launcher,
    resources: Resources,
    *,
    audit: int = 0,
    wait: bool = True,
    on_prepare: Callable[[str, int, int], None] | None = None,
    on_submit: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> bool:
    """Launch the workers of a study and return whether the study is finished.

    Args:
        study: Study file.
        workspace: Folder of data, checkpoints and predictions, shared by all workers.
        storage: Database URL without a password; None means that of the environment.
        launcher: Places the workers.
        resources: What each worker gets.
        audit: Pruned trials of each study to train to their end, outside the budget.
        wait: Whether to wait for the end of workers that do not depend on this process.
        on_prepare: Called with what is prepared, the records done, and their total.
        on_submit: Called with what the launcher says of its workers.
        on_progress: Called about twice a second with the progress.

    Raises:
        UserError: the data, the workspace or the database cannot be used, or the workers cannot be
            placed or cannot work.
    """
    spec = load_spec(study)
    launch = Launch.of(study, spec, workspace, storage)
    launcher.plan(launch, resources)
    n_processes = resources.workers or usable_cores()
    opened = open_study(study, workspace, storage, n_processes=n_processes, on_progress=on_prepare)
    spec, database = opened.spec, opened.database
    if audit:
        add_work(database, spec.with_audit(audit))

    is_finished = partial(_is_finished, database, spec, on_progress)
    try:
        if is_finished():
            return True
        place = launcher.submit(launch, resources)
        if on_submit is not None:
            on_submit(place)
        if launcher.is_detached and not wait:
            return False
        limit = None if launcher.is_detached else resources.time_limit_minutes
        try:
            wait_until_done(launcher, is_finished, limit_minutes=limit)
        finally:
            launcher.stop()
        return is_finished()
    finally:
        database.engine.dispose()


def _is_finished(
    database: Database, spec: StudySpec, on_progress: Callable[[Progress], None] | None
) -> bool:
    """Tell the progress and return whether the study is finished; a silent database is waited for.

    Raises:
        UserError: the study cannot be finished as it is.
    """
    try:
        progress = read_progress(database, spec)
    except DatabaseUnavailable as error:
        logger.warning("%s; trying again", error)
        return False
    if on_progress is not None:
        on_progress(progress)
    if progress.trouble:
        raise UserError(f"study {spec.name!r} cannot be finished: {progress.trouble}")
    return progress.is_finished


def wait_until_done(
    launcher: Launcher,
    is_finished: Callable[[], bool],
    *,
    limit_minutes: float | None = None,
    poll_seconds: float = 0.5,
) -> None:
    """Poll the workers until everything is finished, no worker is left, or the limit is reached."""
    end = time.monotonic() + 60 * limit_minutes if limit_minutes is not None else float("inf")
    while not is_finished() and time.monotonic() < end:
        if not launcher.poll():
            return
        time.sleep(poll_seconds)
