"""Cross-validation of the labelled records: folds of patients that take turns as validation."""

from collections.abc import Sequence

import numpy as np

from ecgopt.data.prepared import PreparedSet
from ecgopt.data.splits import EcgDataset, Rows, TuningData, train_and_validation
from ecgopt.errors import DataError
from ecgopt.seeds import seed_for
from ecgopt.shapes import LabelMatrix

Folds = tuple[TuningData, ...]
"""All that tuning may see of a study: one division, or as many as there are folds."""


def fold_rows(
    prepared: PreparedSet, rows: Rows, labels: LabelMatrix, *, n_folds: int, seed: int
) -> tuple[Rows, ...]:
    """Return `rows` dealt to `n_folds` folds by patient so that each label keeps its share.

    Fold after fold takes its share of what is left, as validation records are taken from the
    whole by `train_and_validation`.

    Args:
        prepared: The prepared set.
        rows: The records to divide, in ascending order.
        labels: Their labels, one row each, in the order of `rows`.
        n_folds: 2 or more.
        seed: Seed of the draws.

    Raises:
        DataError: the patients are too few.
    """
    patients = prepared.records["patient"]
    folds, rest = [], rows
    for n_left in range(n_folds, 1, -1):
        if patients.iloc[rest].nunique() < n_left:
            raise DataError(
                f"{n_folds} folds need more patients than the {patients.iloc[rows].nunique()} of "
                f"{len(rows)} labelled records: raise train_sizes or lower validation_folds"
            )
        rest, fold = train_and_validation(
            prepared,
            rest,
            labels[np.isin(rows, rest)],
            validation_share=1 / n_left,
            seed=seed_for(seed, "fold", n_left),
        )
        folds.append(fold)
    return (*folds, rest)


def held_out(folds: Sequence[TuningData]) -> EcgDataset:
    """Return the validation records of all folds, in the order of the folds.

    Of two or more folds these are all labelled records, each once.
    """
    return _joined([fold.validation for fold in folds])


def all_labelled(folds: Sequence[TuningData]) -> TuningData:
    """Return all labelled records to train on, and the same to validate on.

    No record is left to validate on: a score on records that a network knows is not to be read.
    """
    (one, *others) = folds
    everything = held_out(folds) if others else _joined([one.train, one.validation])
    return TuningData(everything, everything)


def _joined(parts: Sequence[EcgDataset]) -> EcgDataset:
    return EcgDataset(
        signals=parts[0].signals,
        rows=np.concatenate([part.rows for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        classes=parts[0].classes,
        records=tuple(record for part in parts for record in part.records),
        patients=tuple(patient for part in parts for patient in part.patients),
        sampling_rate_hz=parts[0].sampling_rate_hz,
    )


def classes_never_scored(folds: Sequence[TuningData]) -> tuple[str, ...]:
    """Return the classes that have both positives and negatives in no fold's validation records."""
    lacking = [fold.validation.labels_without_both_classes() for fold in folds]
    return tuple(name for name in lacking[0] if all(name in names for names in lacking))
