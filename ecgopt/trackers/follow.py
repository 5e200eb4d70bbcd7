"""Copies the runs of a comparison to the trackers of its study file while it runs.

The process that waits for the study does it, so each run is written once, however many workers
there are, and a tracker that fails costs no trial.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ecgopt.comparison.evidence import finals_of, load_studies
from ecgopt.comparison.open_study import open_begun
from ecgopt.comparison.progress import Progress
from ecgopt.errors import DatabaseUnavailable
from ecgopt.study_file.reading import expand_variables
from ecgopt.study_file.spec import StudySpec
from ecgopt.trackers.contract import TrackedRun, Tracker, TrackerError, runs_of
from ecgopt.workspace import Workspace

logger = logging.getLogger(__name__)

_EVERY_S = 20.0
"""Between two readings of all trials while workers are at work."""


class Follower:
    """Copies runs to the trackers; where one fails, a warning says so and nothing more is tried."""

    def __init__(
        self, study_file: Path, spec: StudySpec, storage: str | None, workspace: Workspace
    ) -> None:
        """Open the trackers.

        Raises:
            TrackerError: a library is missing, or a tracker does not answer.
        """
        self._trackers = _trackers_of(spec, workspace.root)
        self._study_file, self._spec = study_file, spec
        self._storage, self._workspace = storage, workspace
        self._n_done = 0
        self._next_s = 0.0
        self._has_begun = False
        self._thread: threading.Thread | None = None

    def watching(
        self, on_progress: Callable[[Progress], None] | None
    ) -> Callable[[Progress], None]:
        """Return a function that copies what is new, after calling `on_progress`.

        A thread copies, because a slow server must not delay the process that watches the workers.
        """

        def watch(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(progress)
            self._has_begun = True
            is_busy = self._thread is not None and self._thread.is_alive()
            is_new = progress.n_done != self._n_done and time.monotonic() >= self._next_s
            if self._trackers and is_new and not is_busy:
                self._n_done = progress.n_done
                self._next_s = time.monotonic() + _EVERY_S
                self._thread = threading.Thread(target=self._try_to_copy, daemon=True)
                self._thread.start()

        return watch

    @contextmanager
    def to_the_end(self) -> Iterator[None]:
        """Copy everything when the block ends, also where an error or the user ends it."""
        try:
            yield
        finally:
            if self._thread is not None:
                self._thread.join()
            if self._has_begun:
                self._try_to_copy()

    def copy(self) -> int:
        """Add the runs that a tracker lacks, and return their number.

        Raises:
            UserError: the comparison has not begun in this database, or a tracker cannot be used.
        """
        if not self._trackers:
            return 0
        runs = list(self._runs())
        n_added = 0
        for tracker in self._trackers:
            known = tracker.names()
            for run in runs:
                if run.name not in known:
                    tracker.add(run)
                    n_added += 1
        return n_added

    def _try_to_copy(self) -> None:
        try:
            self.copy()
        except (TrackerError, DatabaseUnavailable) as error:
            self._trackers = []
            logger.warning(
                "[track] stops, and the study continues: %s; when that is fixed, `ecgopt study "
                "track` adds what is missing", error,
            )  # fmt: skip

    def _runs(self) -> Iterator[TrackedRun]:
        begun = open_begun(self._study_file, self._storage, self._workspace.root)
        try:
            studies = load_studies(begun.database, begun.spec, self._spec.regimes)
            yield from runs_of(studies, finals_of(begun.database, begun.spec))
        finally:
            begun.database.engine.dispose()


def _trackers_of(spec: StudySpec, root: Path) -> Sequence[Tracker]:
    table = spec.track
    found: list[Tracker] = []
    if table.tensorboard is not None:
        from ecgopt.trackers.tensorboard import TensorBoardTracker

        folder = root / expand_variables(table.tensorboard, "folder")
        found.append(TensorBoardTracker(folder, spec.name))
    if table.mlflow is not None:
        from ecgopt.trackers.mlflow import MlflowTracker

        found.append(MlflowTracker(expand_variables(table.mlflow, "address"), spec.name))
    return found
