"""Several networks as one run: one per fold, and for a final fit one on all labelled records."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import JsonValue
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.errors import CheckpointError
from ecgopt.shapes import Float, ScoreMatrix
from ecgopt.training.metrics import auroc_within, comparable_pairs
from ecgopt.training.recipe import Precision
from ecgopt.training.run import EpochResult, Run


class CrossValidationRun:
    """Runs of one configuration, one per fold; an epoch of it is an epoch of each of them.

    The score of an epoch compares records within their fold only, since scores of different
    networks have no common scale; the folds' pairs of a positive and a negative record then count
    alike. What the runs cost is summed.
    """

    def __init__(
        self, members: Sequence[Run], folds: Sequence[TuningData], *, refit: Run | None = None
    ) -> None:
        """Join fresh runs.

        Args:
            members: One run per fold, trained on its training records.
            folds: Their data, in the same order.
            refit: A run on all labelled records, for a final fit: it answers `predict`, and its
                own score is not read.
        """
        self._members = tuple(members)
        self._refit = refit
        self._runs = self._members if refit is None else (*self._members, refit)
        self._pairs = np.stack([comparable_pairs(fold.validation.labels) for fold in folds])
        self._n_validation = np.array([len(fold.validation) for fold in folds])

    @property
    def precision(self) -> Precision:
        """The arithmetic of training in use, the same in all runs."""
        return self._members[0].precision

    def epochs(self) -> Iterator[EpochResult]:
        """Train all runs for one more epoch and yield, until their end.

        Raises:
            TrialDiverged: one of them left the finite numbers.
        """
        for results in zip(*(run.epochs() for run in self._runs), strict=True):
            yield self._joined(results)

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return the states of all runs, their tensors under the number of the run."""
        states = [run.state() for run in self._runs]
        tensors = {
            f"{number}/{name}": tensor
            for number, (own, _) in enumerate(states)
            for name, tensor in own.items()
        }
        return tensors, {"runs": [metadata for _, metadata in states]}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> None:
        """Continue from a `state()` of as many runs.

        Raises:
            CheckpointError: the state belongs to other runs.
        """
        stored = metadata.get("runs")
        if not isinstance(stored, list) or len(stored) != len(self._runs):
            raise CheckpointError(
                f"the state to continue from must be one of {len(self._runs)} runs, but is not: "
                "it belongs to another run"
            )
        for number, (run, own) in enumerate(zip(self._runs, stored, strict=True)):
            assert isinstance(own, dict)
            prefix = f"{number}/"
            run.restore(
                {
                    name.removeprefix(prefix): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(prefix)
                },
                own,
            )

    def predict(self, dataset: EcgDataset) -> ScoreMatrix:
        """Return what the network of all labelled records answers."""
        assert self._refit is not None, "only a final fit trains on all labelled records"
        return self._refit.predict(dataset)

    def predict_validation(self) -> ScoreMatrix:
        """Return for every labelled record what the network answers that was not trained on it.

        The order is that of the folds, as in `ecgopt.data.folds.held_out`.
        """
        return np.concatenate([run.predict_validation() for run in self._members])

    def _joined(self, results: Sequence[EpochResult]) -> EpochResult:
        of_folds = results[: len(self._members)]
        parts = [result.validation for result in of_folds if result.validation is not None]
        validation = auroc_within(parts, self._pairs) if parts else None
        losses = [
            result.validation_loss for result in of_folds if result.validation_loss is not None
        ]
        return EpochResult(
            epoch=results[0].epoch,
            train_loss=_mean([r.train_loss for r in of_folds], [r.n_samples for r in of_folds]),
            validation=validation,
            validation_loss=_mean(losses, self._n_validation) if losses else None,
            validation_score=None if validation is None else validation.value,
            n_samples=sum(result.n_samples for result in results),
            seconds=sum(result.seconds for result in results),
        )


def _mean(values: Sequence[float], weights: Sequence[int] | Float[np.ndarray, " fold"]) -> float:
    return float(np.average(values, weights=weights))
