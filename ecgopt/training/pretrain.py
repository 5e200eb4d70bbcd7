"""Pre-training: an upstream run of which the epoch best on upstream validation is kept."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue
from torch import Tensor

from ecgopt.errors import CheckpointError, UserError
from ecgopt.models.checkpoint import model_tensors
from ecgopt.training.fit import EpochResult, TrainingRun

_BEST_PREFIX = "best."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """What to save as the upstream checkpoint."""

    tensors: dict[str, Tensor]
    """The best epoch's model, under the names `transfer` expects."""
    metadata: dict[str, JsonValue]
    """Best epoch and score, epochs and seconds spent, and the score of every epoch."""


class Pretraining:
    """An upstream run that remembers its best epoch; it stops and goes on as its run does."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._best: dict[str, Tensor] = {}
        self._best_epoch = 0
        self._best_score = -math.inf
        self._history: list[JsonValue] = []
        self._seconds = 0.0

    def epochs(self) -> Iterator[EpochResult]:
        """Train on from the last epoch done and yield after each.

        Raises:
            TrialDiverged: training left the finite numbers.
        """
        for result in self._run.epochs():
            self._remember(result)
            yield result

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return tensors and metadata from which `restore` continues, the best epoch included."""
        tensors, metadata = self._run.state()
        best = {f"{_BEST_PREFIX}{name}": tensor for name, tensor in self._best.items()}
        return tensors | best, metadata | self._account()

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> None:
        """Continue from a `state()` of the same pre-training.

        Raises:
            CheckpointError: the state belongs to another run.
        """
        self._run.restore(tensors, metadata)
        self._best = {
            name.removeprefix(_BEST_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(_BEST_PREFIX)
        }
        match metadata:
            case {
                "best_epoch": int(epoch),
                "best_score": float() | int() | None as score,
                "history": list(history),
                "seconds": float() | int() as seconds,
            }:
                self._best_epoch, self._history, self._seconds = epoch, list(history), seconds
                self._best_score = -math.inf if score is None else score
            case _:
                raise CheckpointError("the state to continue from is not that of a pre-training")

    def finish(self) -> Pretrained:
        """Return the best epoch's model and the account of the whole run.

        Raises:
            UserError: no epoch could be scored.
        """
        if not self._best:
            raise UserError(
                "pre-training ended without a score: no label of the upstream validation part has "
                "both positives and negatives; use more upstream records or other labels"
            )
        return Pretrained(
            tensors=dict(self._best),
            metadata=self._account() | {"epochs": self._run.epochs_done},
        )

    def _remember(self, result: EpochResult) -> None:
        self._seconds += result.seconds
        score = result.validation_macro_auroc
        self._history.append(
            {
                "epoch": result.epoch,
                "train_loss": result.train_loss,
                "validation_macro_auroc": score,
                "validation_loss": result.validation_loss,
                "seconds": result.seconds,
            }
        )
        # NaN compares false, so an epoch that could not be scored is never the best.
        if score is not None and score > self._best_score:
            self._best_score, self._best_epoch = score, result.epoch
            tensors = model_tensors(self._run.model)
            self._best = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def _account(self) -> dict[str, JsonValue]:
        return {
            "best_epoch": self._best_epoch,
            "best_score": self._best_score if self._best else None,
            "history": list(self._history),
            "seconds": self._seconds,
        }


def pretrain(run: TrainingRun) -> Pretrained:
    """Train `run` to its end and return the model of the epoch best on upstream validation.

    Raises:
        TrialDiverged: training left the finite numbers.
        UserError: no epoch could be scored.
    """
    pretraining = Pretraining(run)
    for _ in pretraining.epochs():
        pass
    return pretraining.finish()
