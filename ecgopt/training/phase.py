"""One phase of a run: which stages are frozen, the optimiser over the others, and what they see."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.models.folding import folded
from ecgopt.models.stages import StagedModel
from ecgopt.shapes import RowIndex
from ecgopt.training.augmentation import Augmentation, epoch_generator
from ecgopt.training.batches import Source, batch_bounds, signal_source
from ecgopt.training.objectives import Objective
from ecgopt.training.optimizer import build_optimizer, set_rate_factor
from ecgopt.training.prefix_cache import PrefixCache, autocast, cached_stages
from ecgopt.training.recipe import Precision, Recipe
from ecgopt.training.schedule import rate_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of epochs with the same frozen stages."""

    first_epoch: int
    """Epochs done before it."""
    n_epochs: int
    n_frozen_stages: int

    def __contains__(self, epochs_done: int) -> bool:
        return self.first_epoch <= epochs_done < self.first_epoch + self.n_epochs


def spans(recipe: Recipe, n_freezable_stages: int) -> list[Span]:
    """Return the spans of a run: the head alone for its share of the epochs, then the rest."""
    n_head_first = 0
    if recipe.head_first_share:
        n_head_first = min(
            max(1, round(recipe.head_first_share * recipe.n_epochs)), recipe.n_epochs - 1
        )
    head_first = Span(first_epoch=0, n_epochs=n_head_first, n_frozen_stages=n_freezable_stages)
    rest = Span(
        first_epoch=n_head_first,
        n_epochs=recipe.n_epochs - n_head_first,
        n_frozen_stages=recipe.n_frozen_stages,
    )
    return [span for span in (head_first, rest) if span.n_epochs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
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
    """Training within one span, with a fresh optimiser and a schedule of its own."""

    def __init__(self, setting: Setting, span: Span) -> None:
        """Freeze and thaw the model's stages for `span`.

        Raises:
            UserError: more stages are to be frozen than the model has.
        """
        self.span = span
        self._setting = setting
        setting.model.freeze(span.n_frozen_stages)
        self.optimizer = build_optimizer(setting.model, setting.recipe)
        self._trained = [p for p in setting.model.parameters() if p.requires_grad]
        n_batches = len(batch_bounds(len(setting.data.train), setting.recipe.batch_size))
        self._steps_per_epoch = n_batches
        rate = setting.data.train.sampling_rate_hz
        self._augmentation = Augmentation.of(setting.recipe, rate)

    # These are made at first use, so that the first epoch's seconds pay for kept features, and
    # after a run is restored, which may change the frozen weights.
    @cached_property
    def _prefix(self) -> StagedModel:
        """A folded copy of the network, for its frozen stages: they stay what they are."""
        return folded(self._setting.model)

    @cached_property
    def source(self) -> Source:
        """The training records."""
        if self._augmentation is not None:
            # Signals that differ in every epoch leave no features to keep.
            return signal_source(self._setting.data.train, self._setting.device)
        return self._source_of(self._setting.data.train, self._setting.precision)

    @cached_property
    def validation_source(self) -> Source:
        """The validation records, in fp32, as evaluation uses them."""
        return self._source_of(self._setting.data.validation, "fp32")

    def train_epoch(self, order: RowIndex, epochs_done: int) -> float:
        """Take the training records in `order` once, and return their mean loss.

        Args:
            order: positions of all training records.
            epochs_done: of the whole run.
        """
        self._setting.model.train()
        step = (epochs_done - self.span.first_epoch) * self._steps_per_epoch
        total = torch.zeros((), device=self._setting.device)
        draws = epoch_generator(self._setting.seed, epochs_done, self._setting.device)
        for inputs, targets in self.source.batches(order, self._setting.recipe.batch_size):
            if self._augmentation is not None:
                inputs = self._augmentation(inputs, draws)
            set_rate_factor(self.optimizer, self._rate_factor(step))
            total += self._train_step(inputs, targets) * len(targets)
            step += 1
        return total.item() / order.size

    def _train_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        setting = self._setting
        self.optimizer.zero_grad(set_to_none=True)
        seen, wanted = setting.objective.example(inputs, targets)
        n_frozen = self.span.n_frozen_stages
        with autocast(setting.device, setting.precision):
            if n_frozen > self.source.n_stages:
                with torch.no_grad():
                    seen = self._prefix.features(seen, n_frozen)
            outputs = setting.model.forward_from(seen, n_frozen)
        loss = setting.objective.training_loss(outputs.float(), wanted)
        loss.backward()
        if setting.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, setting.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _rate_factor(self, step: int) -> float:
        return rate_factor(
            step,
            self._steps_per_epoch * self.span.n_epochs,
            warmup_share=self._setting.recipe.warmup_share,
            schedule=self._setting.recipe.schedule,
        )

    def _source_of(self, dataset: EcgDataset, precision: Precision) -> Source:
        setting = self._setting
        n_stages = cached_stages(setting.model, self.span.n_frozen_stages)
        source = None
        # An objective that changes its inputs in every epoch leaves no features to keep.
        if setting.prefix_cache is not None and n_stages and setting.objective.keeps_inputs:
            source = setting.prefix_cache.source(
                self._prefix, dataset, n_stages=n_stages, precision=precision, device=setting.device
            )
        return source or signal_source(dataset, setting.device)
