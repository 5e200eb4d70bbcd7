"""The contract of training runs, for networks and probes alike."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from pydantic import JsonValue
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.models.stages import StagedModel
from ecgopt.shapes import ScoreMatrix
from ecgopt.training.metrics import MacroAuroc
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Precision, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """The cost and the scores of one epoch."""

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
    """The objective's score, higher is better: the macro AUROC of labels. None if this
    epoch was not evaluated, NaN if the validation records allow no score."""

    @property
    def validation_macro_auroc(self) -> float | None:
        """The validation macro AUROC; None if this epoch was not evaluated."""
        return None if self.validation is None else self.validation.value


class Run(Protocol):
    """A model under training; it can stop after any epoch and continue elsewhere."""

    @property
    def precision(self) -> Precision:
        """The arithmetic of training in use."""

    def epochs(self) -> Iterator[EpochResult]:
        """Continue after the last epoch done and yield after each.

        Raises:
            TrialDiverged: training left the finite numbers.
        """

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return tensors and metadata from which `restore` continues after the last epoch done."""

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> None:
        """Continue from a `state()` of the same run.

        Raises:
            CheckpointError: the state belongs to another run.
        """

    def predict(self, dataset: EcgDataset) -> ScoreMatrix:
        """Return the probability of each label for all records, after the last epoch done."""

    def predict_validation(self) -> ScoreMatrix:
        """Return the same for the validation records."""


class RunBuilder(Protocol):
    """Makes a run of a model that has its initial weights."""

    def __call__(  # noqa: PLR0913 - independent choices, each named by the caller
        self,
        model: StagedModel,
        data: TuningData,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        evaluate_after: Collection[int] | None,
        prefix_cache: PrefixCache | None,
        is_captured: bool,
    ) -> Run:
        """Return the run; see `TrainingRun` for the arguments."""
