"""Labels that say nothing of their records: the control that must score 0.5.

Training and validation labels are permuted together. With true validation labels a network that
learned nothing would still not score 0.5: it is some function of the signal, and any such function
orders the true labels, one way or the other. With permuted ones 0.5 is exact in expectation, its
sampling error is known, and a record in both parts would be memorised and betray itself.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.shapes import Bool, Float
from ecgopt.training.metrics import macro_auroc

N_PERMUTATIONS: Final = 400
"""Enough to know a standard error to a twenty-fifth of itself."""


def with_shuffled_labels(data: TuningData, random: np.random.Generator) -> TuningData:
    """Return `data` with the label rows of all its records permuted.

    A record keeps one row of labels even if it stood in both parts.
    """
    parts = (data.train, data.validation)
    rows, first = np.unique(np.concatenate([part.rows for part in parts]), return_index=True)
    labels = np.concatenate([part.labels for part in parts])[first]
    permuted = labels[random.permutation(len(rows))]

    def relabelled(part: EcgDataset) -> EcgDataset:
        return replace(part, labels=permuted[np.searchsorted(rows, part.rows)])

    return TuningData(relabelled(data.train), relabelled(data.validation))


def permutation_error(
    labels: Bool[np.ndarray, "record label"],
    scores: Float[np.ndarray, "record label"],
    random: np.random.Generator,
) -> float:
    """Return the standard deviation of macro AUROC when `labels` are permuted over records.

    Rows stay whole, so labels that occur together keep doing so.
    """
    drawn = [
        macro_auroc(labels[random.permutation(len(labels))], scores).value
        for _ in range(N_PERMUTATIONS)
    ]
    return float(np.std(drawn))
