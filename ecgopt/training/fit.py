"""One training run as a generator of epochs; it knows nothing of trials, studies or databases."""

import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ecgopt.errors import CheckpointError, TrialDiverged
from ecgopt.models.checkpoint import MODEL_PREFIX, model_tensors
from ecgopt.models.stages import StagedModel
from ecgopt.seeds import generator_for, seed_torch
from ecgopt.shapes import LogitBatch, ScoreMatrix
from ecgopt.training.batches import SignalSource, batch_bounds, shuffled_batches
from ecgopt.training.metrics import MacroAuroc, macro_auroc
from ecgopt.training.optimizer import (
    build_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate_factor,
)
from ecgopt.training.recipe import Recipe
from ecgopt.training.schedule import rate_factor

if TYPE_CHECKING:
    from ecgopt.data.splits import EcgDataset, TuningData

EVALUATION_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """What one epoch cost and brought."""

    epoch: int
    """Epochs done, this one included."""
    train_loss: float
    """Mean over the epoch's records, each taken before its batch's update."""
    validation: MacroAuroc | None
    """None if this epoch was not evaluated."""
    validation_loss: float | None
    n_samples: int
    """Records trained on in this epoch."""
    seconds: float
    """Wall time of this epoch, evaluation included."""

    @property
    def validation_macro_auroc(self) -> float | None:
        """The validation macro AUROC; None if this epoch was not evaluated."""
        return None if self.validation is None else self.validation.value


class TrainingRun:
    """A model under training: it can stop after any epoch and go on elsewhere.

    All randomness of an epoch is derived from the seed and the epoch's number, so a run continued
    from `state()` ends with the same bits on a CPU as one that was never interrupted.
    """

    def __init__(
        self,
        model: StagedModel,
        data: "TuningData",
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        evaluate_after: Collection[int] | None = None,
    ) -> None:
        """Prepare `model`, which is trained in place.

        Args:
            model: fresh, or filled by `transfer`.
            data: training and validation records.
            recipe: how to train.
            seed: the source of the order of records and of dropout.
            device: where to train.
            evaluate_after: epochs after which validation is scored, the last always among them;
                None scores it after every epoch.

        Raises:
            UserError: the recipe freezes more stages than the model has.
        """
        self.model = model.to(device)
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.epochs_done = 0
        self._evaluate_after = None if evaluate_after is None else frozenset(evaluate_after)
        model.freeze(recipe.n_frozen_stages)
        if recipe.dropout:
            model.set_dropout(recipe.dropout)
        self._optimizer = build_optimizer(model, recipe)
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._validation = data.validation
        self._source = SignalSource(data.train, device)
        self._steps_per_epoch = len(batch_bounds(len(self._source), recipe.batch_size))

    def epochs(self) -> Iterator[EpochResult]:
        """Train on from the last epoch done and yield after each; closing the iterator stops.

        Raises:
            TrialDiverged: the training loss or a prediction is no longer finite.
        """
        while self.epochs_done < self.recipe.n_epochs:
            started = time.monotonic()
            train_loss = self._train_epoch()
            self.epochs_done += 1
            validation, validation_loss = self._evaluate() if self._is_evaluated() else (None, None)
            yield EpochResult(
                epoch=self.epochs_done,
                train_loss=train_loss,
                validation=validation,
                validation_loss=validation_loss,
                n_samples=len(self._source),
                seconds=time.monotonic() - started,
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return tensors and metadata from which `restore` continues after the last epoch done.

        The tensors are the live ones: write them out before training goes on.
        """
        tensors = model_tensors(self.model) | optimizer_tensors(self.model, self._optimizer)
        return tensors, {"epochs_done": self.epochs_done, **self._identity()}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> None:
        """Continue from a `state()` of the same run.

        Raises:
            CheckpointError: the state belongs to another recipe, seed, training set or model.
        """
        for name, value in self._identity().items():
            if metadata.get(name) != value:
                raise CheckpointError(
                    f"the state to continue from has {name}={metadata.get(name)}, but this run has "
                    f"{name}={value}: they are different runs"
                )
        stored = {
            name.removeprefix(MODEL_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(MODEL_PREFIX)
        }
        try:
            self.model.load_state_dict(stored)
        except RuntimeError as error:
            raise CheckpointError(f"the state does not fit the model: {error}") from error
        epochs_done = metadata["epochs_done"]
        assert isinstance(epochs_done, int)
        if epochs_done:
            restore_optimizer(self.model, self._optimizer, tensors)
        self.epochs_done = epochs_done

    def _identity(self) -> dict[str, JsonValue]:
        return {"recipe": asdict(self.recipe), "seed": self.seed, "n_train": len(self._source)}

    def _is_evaluated(self) -> bool:
        return (
            self._evaluate_after is None
            or self.epochs_done in self._evaluate_after
            or self.epochs_done == self.recipe.n_epochs
        )

    def _train_epoch(self) -> float:
        self.model.train()
        order = generator_for("fit", "order", self.seed, self.epochs_done)
        total = torch.zeros((), device=self.device)
        with torch.random.fork_rng(devices=_cuda_indices(self.device)):
            # The generators of torch feed dropout only; seeding them here makes each epoch's
            # draws independent of where the run was interrupted.
            seed_torch("fit", "dropout", self.seed, self.epochs_done)
            batches = shuffled_batches(len(self._source), self.recipe.batch_size, order)
            for step, positions in enumerate(batches, self.epochs_done * self._steps_per_epoch):
                set_rate_factor(self._optimizer, self._rate_factor(step))
                total += self._train_step(positions) * positions.size
        loss = total.item() / len(self._source)
        if not math.isfinite(loss):
            raise TrialDiverged(
                f"epoch {self.epochs_done + 1}: training loss is {loss} at learning rate "
                f"{self.recipe.learning_rate}"
            )
        return loss

    def _rate_factor(self, step: int) -> float:
        return rate_factor(
            step,
            self._steps_per_epoch * self.recipe.n_epochs,
            warmup_share=self.recipe.warmup_share,
            schedule=self.recipe.schedule,
        )

    def _train_step(self, positions: np.ndarray) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        uses_bf16 = self.recipe.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=uses_bf16):
            logits = self.model(self._source.inputs(positions))
        loss = binary_cross_entropy_with_logits(logits.float(), self._source.labels(positions))
        loss.backward()
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self._optimizer.step()
        return loss.detach()

    def _evaluate(self) -> tuple[MacroAuroc, float]:
        logits = predict_logits(self.model, self._validation, device=self.device)
        if not torch.isfinite(logits).all():
            raise TrialDiverged(f"epoch {self.epochs_done}: a validation prediction is not finite")
        labels = torch.from_numpy(np.array(self._validation.labels, dtype=np.float32))
        loss = binary_cross_entropy_with_logits(logits, labels).item()
        # Logits, not probabilities: the sigmoid rounds distinct large logits to a tie at 1.
        return macro_auroc(labels.numpy(), logits.numpy()), loss


def predict_logits(
    model: StagedModel,
    dataset: "EcgDataset",
    *,
    device: torch.device,
    batch_size: int = EVALUATION_BATCH,
) -> LogitBatch:
    """Return the logits of all records on the CPU, computed in fp32 and evaluation mode.

    The model's mode is left as it was.
    """
    source = SignalSource(dataset, device)
    positions = np.arange(len(source))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = [
                model(source.inputs(positions[start:stop])).float().cpu()
                for start, stop in batch_bounds(len(source), batch_size)
            ]
    finally:
        model.train(was_training)
    return torch.cat(logits) if logits else torch.empty(0, model.n_labels)


def predict(
    model: StagedModel,
    dataset: "EcgDataset",
    *,
    device: torch.device,
    batch_size: int = EVALUATION_BATCH,
) -> ScoreMatrix:
    """Return the probability of each label for all records, computed in fp32, evaluation mode."""
    logits = predict_logits(model, dataset, device=device, batch_size=batch_size)
    probabilities: ScoreMatrix = torch.sigmoid(logits.double()).numpy()
    return probabilities


def _cuda_indices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
