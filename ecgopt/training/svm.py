"""A support vector machine on frozen features: a run of one epoch that no gradient trains."""

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.models.stages import StagedModel
from ecgopt.shapes import Float, ScoreMatrix
from ecgopt.training.evaluation import embeddings
from ecgopt.training.metrics import macro_auroc
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Precision, Recipe
from ecgopt.training.run import EpochResult

CALIBRATION_FOLDS = 5


class SvmRun:
    """One linear SVM per label on what the head would see; it ends after its only epoch.

    Margins become probabilities by Platt's sigmoid, fitted on margins of held-out folds of the
    training records, so the validation records stay unseen. A label that too few records carry
    for two folds is answered with its share of the training records.
    """

    def __init__(  # noqa: PLR0913 - the contract's arguments
        self,
        model: StagedModel,
        data: TuningData,
        recipe: Recipe,
        *,
        seed: int,  # noqa: ARG002 - the fit is deterministic
        device: torch.device,
        evaluate_after: Collection[int] | None = None,  # noqa: ARG002 - the only epoch is the last
        prefix_cache: PrefixCache | None = None,
        is_captured: bool = False,  # noqa: ARG002 - no step is taken
    ) -> None:
        """Prepare a run.

        Args:
            model: the encoder, with its weights; it stays as it is.
            data: training and validation records.
            recipe: of which only `svm_c` is read.
            seed: not used.
            device: where features are computed; the SVM itself is fitted on the CPU.
            evaluate_after: not used.
            prefix_cache: where features are kept for the next trial.
            is_captured: without effect.
        """
        self._model = model.to(device)
        self._data = data
        self._recipe = recipe
        self._device = device
        self._prefix_cache = prefix_cache
        self._classifiers: list[Any] = []

    @property
    def precision(self) -> Precision:
        """The arithmetic of the features."""
        return "fp32"

    def epochs(self) -> Iterator[EpochResult]:
        """Fit, and yield once; nothing if this was done before."""
        if self._classifiers:
            return
        started = time.monotonic()
        self._fit()
        train, validation = self._data.train, self._data.validation
        scores = self.predict(validation)
        yield EpochResult(
            epoch=1,
            train_loss=_log_loss(train.labels, self.predict(train)),
            validation=macro_auroc(validation.labels, scores),
            validation_loss=_log_loss(validation.labels, scores),
            n_samples=len(train),
            seconds=time.monotonic() - started,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
        """Return whether the fit is done: it is quicker done again than read."""
        return {}, {"is_fitted": bool(self._classifiers)}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> None:  # noqa: ARG002 - the contract's arguments
        """Fit again if the state is that of a fitted run."""
        if metadata.get("is_fitted"):
            self._fit()

    def predict(self, dataset: EcgDataset) -> ScoreMatrix:
        """Return calibrated probabilities."""
        features = self._features(dataset)
        columns = [classifier.predict_proba(features)[:, -1] for classifier in self._classifiers]
        return np.stack(columns, axis=1).astype(np.float64)

    def predict_validation(self) -> ScoreMatrix:
        """Return the same for the validation records."""
        return self.predict(self._data.validation)

    def _fit(self) -> None:
        features, labels = self._features(self._data.train), self._data.train.labels > 0
        self._classifiers = [
            _fitted(features, labels[:, position], c=self._recipe.svm_c)
            for position in range(labels.shape[1])
        ]

    def _features(self, dataset: EcgDataset) -> Float[np.ndarray, "record width"]:
        return embeddings(
            self._model, dataset, device=self._device, prefix_cache=self._prefix_cache
        )


def _fitted(features: np.ndarray, truth: np.ndarray, *, c: float) -> Any:  # noqa: ANN401 - of scikit-learn, untyped
    # Imported here: scikit-learn costs every worker a second, and most studies have no SVM.
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    n_rarer = min(int(truth.sum()), int((~truth).sum()))
    if n_rarer < 2:
        return _Constant(float(truth.mean()))
    svm = make_pipeline(StandardScaler(), LinearSVC(C=c, dual=False))
    folds = min(CALIBRATION_FOLDS, n_rarer)
    return CalibratedClassifierCV(svm, method="sigmoid", cv=folds, ensemble=False).fit(
        features, truth
    )


class _Constant:
    """The answer to a label that cannot be learned."""

    def __init__(self, share: float) -> None:
        self._share = share

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return both probabilities of each record."""
        return np.tile([1.0 - self._share, self._share], (len(features), 1))


def _log_loss(labels: np.ndarray, scores: ScoreMatrix) -> float:
    bounded = np.clip(scores, 1e-7, 1.0 - 1e-7)
    truth = labels > 0
    return float(-np.where(truth, np.log(bounded), np.log1p(-bounded)).mean())
