"""Labels that say nothing of their records: the control that must score 0.5.

Training and validation labels are permuted together. With true validation labels a network that
learned nothing would still not score 0.5: it is some function of the signal, and any such function
orders the true labels, one way or the other. With permuted ones 0.5 is exact in expectation, its
sampling error is known, and a record in both parts would be memorised and betray itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from ecgopt.data.folds import Folds
from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.shapes import Bool, Float
from ecgopt.training.metrics import auroc_within, comparable_pairs, macro_auroc

N_PERMUTATIONS: Final = 400
"""Enough to know a standard error to a twenty-fifth of itself."""


def with_shuffled_labels(folds: Folds, random: np.random.Generator) -> Folds:
    """Return `folds` with the label rows of all their records permuted.

    A record keeps one row of labels wherever it stands.
    """
    parts = [part for fold in folds for part in (fold.train, fold.validation)]
    rows, first = np.unique(np.concatenate([part.rows for part in parts]), return_index=True)
    labels = np.concatenate([part.labels for part in parts])[first]
    permuted = labels[random.permutation(len(rows))]

    def relabelled(part: EcgDataset) -> EcgDataset:
        return replace(part, labels=permuted[np.searchsorted(rows, part.rows)])

    return tuple(TuningData(relabelled(fold.train), relabelled(fold.validation)) for fold in folds)


def permutation_error(
    labels: Bool[np.ndarray, "record label"],
    scores: Float[np.ndarray, "record label"],
    random: np.random.Generator,
    *,
    fold_sizes: Sequence[int] | None = None,
) -> float:
    """Return the standard deviation of macro AUROC when `labels` are permuted over records.

    Rows stay whole, so labels that occur together keep doing so. With `fold_sizes`, the numbers of
    records of each fold in their order, records are compared within their fold only.
    """
    bounds = np.cumsum(fold_sizes if fold_sizes is not None else [len(labels)])[:-1]
    scores_by_fold = np.split(scores, bounds)
    drawn = []
    for _ in range(N_PERMUTATIONS):
        labels_by_fold = np.split(labels[random.permutation(len(labels))], bounds)
        parts = [macro_auroc(*part) for part in zip(labels_by_fold, scores_by_fold, strict=True)]
        pairs = np.stack([comparable_pairs(part) for part in labels_by_fold])
        drawn.append(auroc_within(parts, pairs).value)
    return float(np.std(drawn))
