"""TensorBoard: a folder of event files for each run, with its HPARAMS and its curve."""

import shutil
from collections.abc import Set
from pathlib import Path

from ecgopt.plugins import optional_library
from ecgopt.trackers.contract import TrackedRun, TrackerError

_PART = ".unfinished"


class TensorBoardTracker:
    """Writes event files below `FOLDER/COMPARISON`."""

    def __init__(self, folder: Path, comparison: str) -> None:
        """Write nothing yet.

        Raises:
            TrackerError: tensorboardX is not installed.
        """
        self._root = folder / comparison
        self._library = optional_library("tensorboardX", "tensorboard", TrackerError)

    def names(self) -> Set[str]:
        """Return the names of the runs that have a folder."""
        return {
            path.parent.relative_to(self._root).as_posix()
            for path in self._root.rglob("events.out.tfevents.*")
            if _PART not in path.parts
        }

    def add(self, run: TrackedRun) -> None:
        """Write a run next to its place and move it there, so that none is half there."""
        place, part = self._root / run.name, self._root / _PART
        try:
            shutil.rmtree(part, ignore_errors=True)
            self._write(run, part)
            place.parent.mkdir(parents=True, exist_ok=True)
            part.rename(place)
        except OSError as error:
            raise TrackerError(f"{place}: {error.strerror or error}") from error

    def _write(self, run: TrackedRun, folder: Path) -> None:
        summary = optional_library("tensorboardX.summary", "tensorboard", TrackerError)
        with self._library.SummaryWriter(str(folder)) as writer:
            for part in summary.hparams({**run.parameters, **run.tags}, dict(run.metrics)):
                writer.file_writer.add_summary(part)
            for name, value in run.metrics.items():
                writer.add_scalar(name, value, 0)
            for rung, value in sorted(run.curve.items()):
                writer.add_scalar(run.curve_name, value, rung)
