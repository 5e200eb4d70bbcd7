"""One training run as a generator of epochs; it knows nothing of trials, studies or databases."""

import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

import torch
from pydantic import JsonValue
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.errors import CheckpointError, TrialDiverged
from ecgopt.models.checkpoint import MODEL_PREFIX, model_tensors
from ecgopt.models.folding import folded
from ecgopt.models.stages import StagedModel
from ecgopt.seeds import generator_for, seed_torch
from ecgopt.shapes import ScoreMatrix
from ecgopt.training.batches import Source, batch_bounds, signal_source
from ecgopt.training.evaluation import EVALUATION_BATCH, cuda_devices, outputs_and_targets
from ecgopt.training.metrics import MacroAuroc
from ecgopt.training.objectives import Evaluation, MultiLabel, Objective
from ecgopt.training.optimizer import (
    build_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate_factor,
)
from ecgopt.training.prefix_cache import PrefixCache, autocast, cached_stages
from ecgopt.training.recipe import Precision, Recipe
from ecgopt.training.schedule import rate_factor

MULTI_LABEL: Final = MultiLabel()


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """What one epoch cost and brought."""

    epoch: int
    """Epochs done, this one included."""
    train_loss: float
    """Mean over the epoch's records, each taken before its batch's update."""
    validation: MacroAuroc | None
    """None if this epoch was not evaluated, or the objective predicts no labels."""
    validation_loss: float | None
    n_samples: int
    """Records trained on in this epoch."""
    seconds: float
    """Wall time of this epoch, evaluation included."""
    validation_score: float | None = None
    """What the objective is judged by, higher is better: the macro AUROC of labels. None if this
    epoch was not evaluated, NaN if the validation records allow no score."""

    @property
    def validation_macro_auroc(self) -> float | None:
        """The validation macro AUROC; None if this epoch was not evaluated."""
        return None if self.validation is None else self.validation.value


class TrainingRun:
    """A model under training: it can stop after any epoch and go on elsewhere.

    All randomness of an epoch is derived from the seed and the epoch's number, so a run continued
    from `state()` ends with the same bits on a CPU as one that was never interrupted.
    """

    def __init__(  # noqa: PLR0913 - independent choices, each named by the caller
        self,
        model: StagedModel,
        data: TuningData,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        evaluate_after: Collection[int] | None = None,
        objective: Objective = MULTI_LABEL,
        prefix_cache: PrefixCache | None = None,
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
            objective: what to train for.
            prefix_cache: where features of frozen stages are kept if at most one stage besides
                the head is trained; None computes them in every epoch. Results are equal.

        Raises:
            UserError: the recipe freezes more stages than the model has.
        """
        self.model = model.to(device)
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.epochs_done = 0
        self._data = data
        self._objective = objective
        self._prefix_cache = prefix_cache if objective.keeps_inputs else None
        self._evaluate_after = None if evaluate_after is None else frozenset(evaluate_after)
        model.freeze(recipe.n_frozen_stages)
        if recipe.dropout:
            model.set_dropout(recipe.dropout)
        self._optimizer = build_optimizer(model, recipe)
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._steps_per_epoch = len(batch_bounds(len(data.train), recipe.batch_size))

    @property
    def precision(self) -> Precision:
        """The arithmetic in use: the recipe's, or fp32 where bf16 would not be faster."""
        return self.recipe.precision if self.model.gains_from_bf16 else "fp32"

    def epochs(self) -> Iterator[EpochResult]:
        """Train on from the last epoch done and yield after each; closing the iterator stops.

        Raises:
            TrialDiverged: the training loss or a prediction is no longer finite.
        """
        while self.epochs_done < self.recipe.n_epochs:
            started = time.monotonic()
            train_loss = self._train_epoch()
            self.epochs_done += 1
            evaluation = self._evaluate() if self._is_evaluated() else None
            yield EpochResult(
                epoch=self.epochs_done,
                train_loss=train_loss,
                validation=None if evaluation is None else evaluation.macro_auroc,
                validation_loss=None if evaluation is None else evaluation.loss,
                validation_score=None if evaluation is None else evaluation.score,
                n_samples=len(self._data.train),
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
        return {"recipe": asdict(self.recipe), "seed": self.seed, "n_train": len(self._data.train)}

    def _is_evaluated(self) -> bool:
        return (
            self._evaluate_after is None
            or self.epochs_done in self._evaluate_after
            or self.epochs_done == self.recipe.n_epochs
        )

    # Sources are made at first use, so that the first epoch's seconds pay for kept features, and
    # after `restore`, which may change the frozen weights.
    @cached_property
    def _source(self) -> Source:
        return self._source_of(self._data.train, self.model, self.precision)

    @cached_property
    def _validation_source(self) -> Source:
        # Evaluation uses the folded network in fp32, so its features are that network's.
        return self._source_of(self._data.validation, folded(self.model), "fp32")

    def _source_of(self, dataset: EcgDataset, model: StagedModel, precision: Precision) -> Source:
        n_stages = cached_stages(self.model, self.recipe.n_frozen_stages)
        source = None
        if self._prefix_cache is not None and n_stages and len(dataset):
            source = self._prefix_cache.source(
                model, dataset, n_stages=n_stages, precision=precision, device=self.device
            )
        return source or signal_source(dataset, self.device)

    def _train_epoch(self) -> float:
        self.model.train()
        source = self._source
        order = generator_for("fit", "order", self.seed, self.epochs_done).permutation(len(source))
        total = torch.zeros((), device=self.device)
        with torch.random.fork_rng(devices=cuda_devices(source)):
            # The generators of torch feed dropout and masks only; seeding them here makes each
            # epoch's draws independent of where the run was interrupted.
            seed_torch("fit", "dropout", self.seed, self.epochs_done)
            batches = source.batches(order, self.recipe.batch_size)
            for step, (inputs, targets) in enumerate(
                batches, self.epochs_done * self._steps_per_epoch
            ):
                set_rate_factor(self._optimizer, self._rate_factor(step))
                loss = self._train_step(inputs, targets, source.n_stages)
                total += loss * len(targets)
        mean_loss = total.item() / len(source)
        if not math.isfinite(mean_loss):
            raise TrialDiverged(
                f"epoch {self.epochs_done + 1}: training loss is {mean_loss} at learning rate "
                f"{self.recipe.learning_rate}"
            )
        return mean_loss

    def _rate_factor(self, step: int) -> float:
        return rate_factor(
            step,
            self._steps_per_epoch * self.recipe.n_epochs,
            warmup_share=self.recipe.warmup_share,
            schedule=self.recipe.schedule,
        )

    def _train_step(self, inputs: Tensor, targets: Tensor, n_stages: int) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        seen, wanted = self._objective.example(inputs, targets)
        with autocast(self.device, self.precision):
            outputs = self.model.forward_from(seen, n_stages)
        loss = self._objective.loss(outputs.float(), wanted)
        loss.backward()
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self._optimizer.step()
        return loss.detach()

    def _evaluate(self) -> Evaluation:
        outputs, targets = outputs_and_targets(self.model, self._validation_source, self._objective)
        if not torch.isfinite(outputs).all():
            raise TrialDiverged(f"epoch {self.epochs_done}: a validation prediction is not finite")
        return self._objective.evaluate(outputs, targets)


def predict(
    model: StagedModel,
    dataset: EcgDataset,
    *,
    device: torch.device,
    batch_size: int = EVALUATION_BATCH,
) -> ScoreMatrix:
    """Return the probability of each label for all records, computed in fp32, evaluation mode.

    The model's mode is left as it was.
    """
    logits, _ = outputs_and_targets(
        model, signal_source(dataset, device), MULTI_LABEL, batch_size=batch_size
    )
    probabilities: ScoreMatrix = torch.sigmoid(logits.double()).numpy()
    return probabilities
