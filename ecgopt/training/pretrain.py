"""Pre-training: an upstream run of which the epoch best on upstream validation is kept."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.errors import CheckpointError, UserError
from ecgopt.models.checkpoint import LEFT_OUT_KEY, MODEL_PREFIX, model_tensors
from ecgopt.models.decoder import attach_decoder
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.seeds import generator_for
from ecgopt.shapes import Float
from ecgopt.training.fit import TrainingRun
from ecgopt.training.objectives import AgeRegression, MaskedSignal, Objective
from ecgopt.training.recipe import Recipe
from ecgopt.training.run import EpochResult

_BEST_PREFIX = "best."

OBJECTIVE_NAMES: Final = ("multi_label", "age", "masked_signal", "label_permuted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """The content of the upstream checkpoint."""

    tensors: dict[str, Tensor]
    """The best epoch's model, under the names that `transfer` expects."""
    metadata: dict[str, JsonValue]
    """Best epoch and score, epochs and seconds spent, and the score of every epoch."""


class Pretraining:
    """An upstream run that remembers its best epoch; it stops and continues as its run does."""

    def __init__(
        self, run: TrainingRun, *, objective: str = "multi_label", left_out: Sequence[str] = ()
    ) -> None:
        """Wrap a run.

        Args:
            run: the upstream run.
            objective: what it is trained for, for the record.
            left_out: name prefixes of model tensors that the objective does not train; the
                checkpoint goes without them.
        """
        self._run = run
        self._objective = objective
        self._left_out = tuple(left_out)
        self._best: dict[str, Tensor] = {}
        self._best_epoch = 0
        self._best_score = -math.inf
        self._history: list[JsonValue] = []
        self._seconds = 0.0

    def epochs(self) -> Iterator[EpochResult]:
        """Continue after the last epoch done and yield after each.

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
                f"pre-training by {self._objective} ended without a score: the upstream validation "
                "part allows none (of labels, one needs both positives and negatives; of ages, two "
                "must differ); use more upstream records or another objective"
            )
        prefixes = tuple(MODEL_PREFIX + prefix for prefix in self._left_out)
        kept = {
            name: tensor for name, tensor in self._best.items() if not name.startswith(prefixes)
        }
        account: dict[str, JsonValue] = {
            "objective": self._objective,
            "epochs": self._run.epochs_done,
            LEFT_OUT_KEY: list(self._left_out),
        }
        return Pretrained(tensors=kept, metadata=self._account() | account)

    def _remember(self, result: EpochResult) -> None:
        self._seconds += result.seconds
        score = result.validation_score
        self._history.append(
            {
                "epoch": result.epoch,
                "train_loss": result.train_loss,
                "validation_score": score,
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


def build_pretraining(  # noqa: PLR0913 - independent choices, each named by the caller
    objective: str,
    spec: ModelSpec,
    data: TuningData,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    is_captured: bool = False,
) -> Pretraining:
    """Return a pre-training of a fresh network.

    Args:
        objective: `multi_label` predicts the labels; `age` predicts the single column of the
            labels as years; `masked_signal` fills in hidden segments and needs no labels;
            `label_permuted` is the control that predicts labels of other records.
        spec: the network.
        data: upstream records.
        recipe: how to train.
        seed: the source of weights, orders and permutations.
        device: where to train.
        is_captured: record steps as CUDA graphs; see `TrainingRun`.

    Raises:
        UserError: the objective is unknown, or `age` is given other than one column.
    """
    _, n_leads, n_samples = data.train.signals.shape
    n_labels = data.train.labels.shape[1]
    model = build_model(
        spec, n_labels=max(1, n_labels), n_leads=n_leads, n_samples=n_samples, seed=seed
    )
    left_out: list[str] = []
    task: Objective | None = None
    match objective:
        case "multi_label":
            pass
        case "label_permuted":
            data = permuted(data, seed=seed)
        case "age":
            if n_labels != 1:
                raise UserError(
                    "pre-training by age needs the ages as the only column of labels, but there "
                    f"are {n_labels} columns"
                )
            task = AgeRegression()
        case "masked_signal":
            task = MaskedSignal()
            left_out = attach_decoder(model, n_leads=n_leads, n_samples=n_samples, seed=seed)
        case _:
            raise UserError(
                f"a pre-training objective must be one of {', '.join(OBJECTIVE_NAMES)}, but is "
                f"{objective!r}"
            )
    run = TrainingRun(
        model,
        data,
        recipe,
        seed=seed,
        device=device,
        objective=task,
        is_captured=is_captured,
    )
    return Pretraining(run, objective=objective, left_out=left_out)


def with_ages(dataset: EcgDataset, age_years: Float[np.ndarray, " record"]) -> EcgDataset:
    """Return the dataset with ages as its only target, for the objective `age`.

    Args:
        dataset: the records.
        age_years: one per record; NaN where unknown.
    """
    ages = np.asarray(age_years, dtype=np.float32).reshape(-1, 1)
    return replace(dataset, labels=ages, classes=("age_years",))


def permuted(data: TuningData, *, seed: int) -> TuningData:
    """Return the data with label rows permuted among records, within each part.

    The frequencies of labels and their combinations stay; only the link to the signals is lost.
    """

    def shuffled(part: str, dataset: EcgDataset) -> EcgDataset:
        order = generator_for("permuted labels", part, seed).permutation(len(dataset))
        return replace(dataset, labels=dataset.labels[order])

    return TuningData(
        train=shuffled("train", data.train),
        validation=shuffled("validation", data.validation),
    )
