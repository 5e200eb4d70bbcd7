"""Resumable state of a work item: the newest two checkpoints, and going on from the newest good."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue
from torch import Tensor

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint
from ecgopt.training.run import EpochResult

logger = logging.getLogger(__name__)

_KEPT = 2


class Resumable(Protocol):
    """What training offers so that it can go on elsewhere."""

    def epochs(self) -> Iterator[EpochResult]:
        """Train on and yield after each epoch."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return tensors and metadata to continue from."""

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> None:
        """Continue from a `state()`."""


class ResumableEpochs:
    """The epochs of one work item, checkpointed on the way, with its account kept over owners."""

    def __init__(
        self,
        run: Resumable,
        folder: Path,
        *,
        checkpoint_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        measure: Callable[[], float] | None = None,
    ) -> None:
        """Go on from the newest undamaged checkpoint in `folder`, if there is one.

        Args:
            run: Freshly built.
            folder: Of the item's checkpoints.
            checkpoint_seconds: Least time between two checkpoints.
            clock: Monotonic seconds.
            measure: Called after each epoch, outside the time that is charged to the run.
        """
        self._run = run
        self._folder = folder
        self._checkpoint_seconds = checkpoint_seconds
        self._clock = clock
        self._measure = measure
        self._saved_at = clock()
        self.curve: list[float | None] = []
        """Validation macro AUROC after each epoch; None where it was not scored."""
        self.measured: list[float] = []
        """What `measure` returned after each epoch; empty without it."""
        self.seconds = 0.0
        self.n_samples = 0
        self._restore()

    @property
    def epochs_done(self) -> int:
        """Epochs trained so far, by all owners."""
        return len(self.curve)

    def __iter__(self) -> Iterator[EpochResult]:
        for result in self._run.epochs():
            self.curve.append(result.validation_macro_auroc)
            self.seconds += result.seconds
            self.n_samples += result.n_samples
            if self._measure is not None:
                self.measured.append(self._measure())
            yield result
            # Not before the caller has used the epoch: a worker that died in between would leave
            # a state whose last epoch nobody has reported, and nobody would train it again.
            if self._clock() - self._saved_at >= self._checkpoint_seconds:
                self.save()

    def save(self) -> None:
        """Write a checkpoint now and remove all but the newest two.

        Where it cannot be written (a full disk), training goes on from memory and the next
        checkpoint is tried as usual: a lost epoch is cheaper than a lost trial.
        """
        self._saved_at = self._clock()
        tensors, metadata = self._run.state()
        account: dict[str, JsonValue] = {
            "curve": list(self.curve),
            "measured": list(self.measured),
            "seconds": self.seconds,
            "n_samples": self.n_samples,
        }
        path = self._folder / f"epoch-{self.epochs_done:05d}.safetensors"
        try:
            save_checkpoint(path, tensors, {"run": metadata, "account": account})
        except OSError as error:
            logger.warning("checkpoint %s cannot be written: %s", path, error.strerror)
            return
        for old in self._checkpoints()[_KEPT:]:
            old.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove all checkpoints: the item has ended."""
        discard_checkpoints(self._folder)

    def _checkpoints(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.safetensors"), reverse=True)

    def _restore(self) -> None:
        for path in self._checkpoints():
            try:
                self._restore_from(path)
            except CheckpointError as error:
                logger.warning("%s: falling back to the checkpoint before it", error)
            else:
                return

    def _restore_from(self, path: Path) -> None:
        stored = load_checkpoint(path)
        match stored.metadata:
            case {
                "run": dict(metadata),
                "account": {
                    "curve": list(curve),
                    "seconds": float() | int() as seconds,
                    "n_samples": int(n_samples),
                    **others,
                },
            }:
                measured = others.get("measured", [])
                assert isinstance(measured, list)
                if len(measured) != (len(curve) if self._measure else 0):
                    raise CheckpointError(f"{path} lacks what is measured after each epoch")
                self._run.restore(stored.tensors, metadata)
                self.curve = [None if value is None else float(str(value)) for value in curve]
                self.measured = [float(str(value)) for value in measured]
                self.seconds, self.n_samples = float(seconds), n_samples
            case _:
                raise CheckpointError(f"{path} is not the state of a work item")


def discard_checkpoints(folder: Path) -> None:
    """Remove what is left of an item that has ended; a folder that is not there is no error."""
    shutil.rmtree(folder, ignore_errors=True)
