"""One training run as a generator of epochs; it does not know trials, studies or databases.

A run has one phase or two: `Phase` trains one range of epochs with the same frozen stages, and
`TrainingRun` goes through the phases, scores validation, and can stop and continue.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

import torch
from pydantic import JsonValue
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.errors import CheckpointError, TrialDiverged
from ecgopt.models.checkpoint import MODEL_PREFIX, model_tensors
from ecgopt.models.convolution import fused
from ecgopt.models.stages import StagedModel
from ecgopt.seeds import generator_for, seed_torch
from ecgopt.shapes import RowIndex, ScoreMatrix
from ecgopt.training.augmentation import Augmentation, epoch_generator
from ecgopt.training.batches import BatchSource, batch_bounds, signal_source
from ecgopt.training.cuda import CapturedStep, cuda_devices
from ecgopt.training.evaluation import outputs_and_targets
from ecgopt.training.objectives import Evaluation, MultiLabel, Objective
from ecgopt.training.optimizer import (
    build_optimizer,
    optimizer_tensors,
    rate_factor,
    restore_optimizer,
    set_rate_factor,
)
from ecgopt.training.precision import arithmetic, autocast, precision_in_use
from ecgopt.training.prefix_cache import PrefixCache, cached_stages
from ecgopt.training.recipe import Precision, Recipe
from ecgopt.training.run import EpochResult

MULTI_LABEL: Final = MultiLabel()


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRange:
    """Consecutive epochs with the same frozen stages."""

    first_epoch: int
    """Epochs done before it."""
    n_epochs: int
    n_frozen_stages: int

    def __contains__(self, epochs_done: int) -> bool:
        return self.first_epoch <= epochs_done < self.first_epoch + self.n_epochs


def epoch_ranges(recipe: Recipe, n_freezable_stages: int) -> list[EpochRange]:
    """Return a run's ranges of epochs: the head alone for its share of them, then the rest."""
    n_head_first = 0
    if recipe.head_first_share:
        n_head_first = min(
            max(1, round(recipe.head_first_share * recipe.n_epochs)), recipe.n_epochs - 1
        )
    head_first = EpochRange(
        first_epoch=0, n_epochs=n_head_first, n_frozen_stages=n_freezable_stages
    )
    rest = EpochRange(
        first_epoch=n_head_first,
        n_epochs=recipe.n_epochs - n_head_first,
        n_frozen_stages=recipe.n_frozen_stages,
    )
    return [epochs for epochs in (head_first, rest) if epochs.n_epochs]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainContext:
    """The model, data and settings that all phases of a run share."""

    model: StagedModel
    data: TuningData
    recipe: Recipe
    seed: int
    device: torch.device
    objective: Objective
    prefix_cache: PrefixCache | None
    is_captured: bool

    @property
    def precision(self) -> Precision:
        """The arithmetic in use: what the recipe's means for this network on this device."""
        return precision_in_use(self.recipe.precision, self.model, self.device)


class Phase:
    """Training within one range of epochs, with a fresh optimiser and schedule."""

    def __init__(self, context: TrainContext, epochs: EpochRange) -> None:
        """Freeze and thaw the model's stages for these epochs.

        Raises:
            UserError: more stages are to be frozen than the model has.
        """
        self.epochs = epochs
        self._context = context
        context.model.freeze(epochs.n_frozen_stages)
        self.optimizer = build_optimizer(
            context.model, context.recipe, is_captured=context.is_captured
        )
        self._captured = (
            CapturedStep(self._train_step, context.device) if context.is_captured else None
        )
        self._trained = [p for p in context.model.parameters() if p.requires_grad]
        n_batches = len(batch_bounds(len(context.data.train), context.recipe.batch_size))
        self._steps_per_epoch = n_batches
        rate = context.data.train.sampling_rate_hz
        self._augmentation = Augmentation.of(context.recipe, rate)

    # These are made at first use, so that the first epoch's seconds include kept features, and
    # after a run is restored, which may change the frozen weights.
    @cached_property
    def _prefix(self) -> StagedModel:
        """A fused copy of the network, for its frozen stages: they stay what they are."""
        return fused(self._context.model)

    @cached_property
    def source(self) -> BatchSource:
        """The training records."""
        if self._augmentation is not None:
            # Signals that differ in every epoch leave no features to keep.
            return signal_source(self._context.data.train, self._context.device)
        return self._source_of(self._context.data.train, self._context.precision)

    @cached_property
    def validation_source(self) -> BatchSource:
        """The validation records, in fp32, as evaluation uses them."""
        return self._source_of(self._context.data.validation, "fp32")

    @property
    def n_recorded_graphs(self) -> int:
        """The shapes of batches whose step is recorded as a CUDA graph."""
        return 0 if self._captured is None else self._captured.n_graphs

    def train_epoch(self, order: RowIndex, epochs_done: int) -> float:
        """Take the training records in `order` once, and return their mean loss.

        Args:
            order: positions of all training records.
            epochs_done: of the whole run.
        """
        if self._captured is None:
            return self._take_steps(self._train_step, order, epochs_done)
        self._captured.stream.wait_stream(torch.cuda.current_stream(self._context.device))
        with torch.cuda.stream(self._captured.stream):
            return self._take_steps(self._captured, order, epochs_done)

    def _take_steps(
        self, take_step: Callable[[Tensor, Tensor], Tensor], order: RowIndex, epochs_done: int
    ) -> float:
        self._context.model.train()
        step = (epochs_done - self.epochs.first_epoch) * self._steps_per_epoch
        total = torch.zeros((), device=self._context.device)
        draws = epoch_generator(self._context.seed, epochs_done, self._context.device)
        for inputs, targets in self.source.batches(order, self._context.recipe.batch_size):
            if self._augmentation is not None:
                inputs = self._augmentation(inputs, draws)
            set_rate_factor(self.optimizer, self._rate_factor(step))
            total += take_step(inputs, targets) * len(targets)
            step += 1
        return total.item() / order.size

    def _train_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        context = self._context
        self.optimizer.zero_grad(set_to_none=True)
        seen, wanted = context.objective.example(inputs, targets)
        n_frozen = self.epochs.n_frozen_stages
        with autocast(context.device, context.precision):
            if n_frozen > self.source.n_stages:
                with torch.no_grad():
                    seen = self._prefix.features(seen, n_frozen)
            outputs = context.model.forward_from(seen, n_frozen)
        loss = context.objective.training_loss(outputs.float(), wanted)
        loss.backward()
        if context.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, context.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _rate_factor(self, step: int) -> float:
        return rate_factor(
            step,
            self._steps_per_epoch * self.epochs.n_epochs,
            warmup_share=self._context.recipe.warmup_share,
            schedule=self._context.recipe.schedule,
        )

    def _source_of(self, dataset: EcgDataset, precision: Precision) -> BatchSource:
        context = self._context
        n_stages = cached_stages(context.model, self.epochs.n_frozen_stages)
        source = None
        # An objective that changes its inputs in every epoch leaves no features to keep.
        if context.prefix_cache is not None and n_stages and context.objective.keeps_inputs:
            source = context.prefix_cache.source(
                self._prefix, dataset, n_stages=n_stages, precision=precision, device=context.device
            )
        return source or signal_source(dataset, context.device)


class TrainingRun:
    """A model under training: it can stop after any epoch and continue elsewhere.

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
        objective: Objective | None = None,
        prefix_cache: PrefixCache | None = None,
        is_captured: bool = False,
    ) -> None:
        """Prepare `model`, which is trained in place.

        Args:
            model: fresh, or filled by `transfer`.
            data: training and validation records.
            recipe: how to train.
            seed: the source of the order of records, of dropout and of augmentation.
            device: where to train.
            evaluate_after: epochs after which validation is scored, the last always among them;
                None scores it after every epoch.
            objective: what to train for; None predicts the labels, smoothed as in the recipe.
            prefix_cache: where features of frozen stages are kept if at most one stage besides
                the head is trained; None computes them in every epoch. Results are equal.
            is_captured: on a CUDA device, record the steps as CUDA graphs: faster for small
                networks, equal up to rounding. It changes nothing on a CPU.

        Raises:
            UserError: the recipe freezes more stages than the model has.
        """
        self.model = model.to(device)
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.epochs_done = 0
        self._context = TrainContext(
            model=model,
            data=data,
            recipe=recipe,
            seed=seed,
            device=device,
            objective=objective or MultiLabel(label_smoothing=recipe.label_smoothing),
            prefix_cache=prefix_cache,
            is_captured=is_captured and device.type == "cuda",
        )
        self._evaluate_after = None if evaluate_after is None else frozenset(evaluate_after)
        if recipe.dropout:
            model.set_dropout(recipe.dropout)
        self._epoch_ranges = epoch_ranges(recipe, model.n_freezable_stages)
        model.freeze(recipe.n_frozen_stages)
        self._phase = Phase(self._context, self._epoch_ranges[0])

    @property
    def precision(self) -> Precision:
        """The arithmetic in use: what the recipe's means for this network on this device."""
        return self._context.precision

    def epochs(self) -> Iterator[EpochResult]:
        """Continue after the last epoch done and yield after each; closing the iterator stops.

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
                n_samples=len(self._context.data.train),
                seconds=time.monotonic() - started,
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return tensors and metadata from which `restore` continues after the last epoch done.

        The tensors are the live ones: write them out before training continues.
        """
        tensors = model_tensors(self.model) | optimizer_tensors(self.model, self._phase.optimizer)
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
        self.epochs_done = epochs_done
        # The state is that of the phase that was trained last; recorded steps end with their phase.
        self._phase = self._new_phase(max(0, epochs_done - 1))
        if epochs_done:
            restore_optimizer(self.model, self._phase.optimizer, tensors)

    @property
    def n_recorded_graphs(self) -> int:
        """The shapes of batches whose step is recorded as a CUDA graph in the present phase."""
        return self._phase.n_recorded_graphs

    def predict(self, dataset: EcgDataset) -> ScoreMatrix:
        """Return the probability of each label for all records, with the present weights."""
        return predict(self.model, dataset, device=self.device)

    def predict_validation(self) -> ScoreMatrix:
        """Return the same for the validation records."""
        return self.predict(self._context.data.validation)

    def _identity(self) -> dict[str, JsonValue]:
        return {
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "n_train": len(self._context.data.train),
        }

    def _is_evaluated(self) -> bool:
        return (
            self._evaluate_after is None
            or self.epochs_done in self._evaluate_after
            or self.epochs_done == self.recipe.n_epochs
        )

    def _enter_phase(self, epochs_done: int) -> None:
        """Begin the phase of the next epoch with a fresh optimiser, unless it has begun."""
        if epochs_done not in self._phase.epochs:
            self._phase = self._new_phase(epochs_done)

    def _new_phase(self, epochs_done: int) -> Phase:
        epochs = next(epochs for epochs in self._epoch_ranges if epochs_done in epochs)
        return Phase(self._context, epochs)

    def _train_epoch(self) -> float:
        self._enter_phase(self.epochs_done)
        n_records = len(self._context.data.train)
        order = generator_for("fit", "order", self.seed, self.epochs_done).permutation(n_records)
        with (
            arithmetic(self.device, self.precision),
            torch.random.fork_rng(devices=cuda_devices(self.device)),
        ):
            # The generators of torch feed dropout and masks only; seeding them here makes each
            # epoch's draws independent of where the run was interrupted.
            seed_torch("fit", "dropout", self.seed, self.epochs_done)
            loss = self._phase.train_epoch(order, self.epochs_done)
        if not math.isfinite(loss):
            raise TrialDiverged(
                f"epoch {self.epochs_done + 1}: training loss is {loss} at learning rate "
                f"{self.recipe.learning_rate}"
            )
        return loss

    def _evaluate(self) -> Evaluation:
        outputs, targets = outputs_and_targets(
            self.model, self._phase.validation_source, self._context.objective
        )
        if not torch.isfinite(outputs).all():
            raise TrialDiverged(f"epoch {self.epochs_done}: a validation prediction is not finite")
        return self._context.objective.evaluate(outputs, targets)


def predict(
    model: StagedModel,
    dataset: EcgDataset,
    *,
    device: torch.device,
    batch_size: int | None = None,
) -> ScoreMatrix:
    """Return the probability of each label for all records, computed in fp32, evaluation mode.

    The model's mode is left as it was.

    Args:
        model: The network.
        dataset: The records.
        device: Where to compute.
        batch_size: Records in a batch; None takes what is fast on the device.
    """
    logits, _ = outputs_and_targets(
        model, signal_source(dataset, device), MULTI_LABEL, batch_size=batch_size
    )
    probabilities: ScoreMatrix = torch.sigmoid(logits.double()).numpy()
    return probabilities
