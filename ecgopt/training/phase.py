"""One phase of a run: which stages are frozen, the optimiser over the others, and what they see."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.models.convolution import fused
from ecgopt.models.stages import StagedModel
from ecgopt.shapes import RowIndex
from ecgopt.training.augmentation import Augmentation, epoch_generator
from ecgopt.training.batches import BatchSource, batch_bounds, signal_source
from ecgopt.training.objectives import Objective
from ecgopt.training.optimizer import build_optimizer, rate_factor, set_rate_factor
from ecgopt.training.prefix_cache import PrefixCache, autocast, cached_stages
from ecgopt.training.recipe import Precision, Recipe


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
    """What all phases of a run share."""

    model: StagedModel
    data: TuningData
    recipe: Recipe
    seed: int
    device: torch.device
    objective: Objective
    prefix_cache: PrefixCache | None

    @property
    def precision(self) -> Precision:
        """The arithmetic in use: the recipe's, or fp32 where bf16 would not be faster."""
        return self.recipe.precision if self.model.gains_from_bf16 else "fp32"


class Phase:
    """Training within one range of epochs, with a fresh optimiser and a schedule of its own."""

    def __init__(self, context: TrainContext, epochs: EpochRange) -> None:
        """Freeze and thaw the model's stages for these epochs.

        Raises:
            UserError: more stages are to be frozen than the model has.
        """
        self.epochs = epochs
        self._context = context
        context.model.freeze(epochs.n_frozen_stages)
        self.optimizer = build_optimizer(context.model, context.recipe)
        self._trained = [p for p in context.model.parameters() if p.requires_grad]
        n_batches = len(batch_bounds(len(context.data.train), context.recipe.batch_size))
        self._steps_per_epoch = n_batches
        rate = context.data.train.sampling_rate_hz
        self._augmentation = Augmentation.of(context.recipe, rate)

    # These are made at first use, so that the first epoch's seconds pay for kept features, and
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

    def train_epoch(self, order: RowIndex, epochs_done: int) -> float:
        """Take the training records in `order` once, and return their mean loss.

        Args:
            order: positions of all training records.
            epochs_done: of the whole run.
        """
        self._context.model.train()
        step = (epochs_done - self.epochs.first_epoch) * self._steps_per_epoch
        total = torch.zeros((), device=self._context.device)
        draws = epoch_generator(self._context.seed, epochs_done, self._context.device)
        for inputs, targets in self.source.batches(order, self._context.recipe.batch_size):
            if self._augmentation is not None:
                inputs = self._augmentation(inputs, draws)
            set_rate_factor(self.optimizer, self._rate_factor(step))
            total += self._train_step(inputs, targets) * len(targets)
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
