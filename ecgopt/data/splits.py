"""Who is trained on and who is tested on: patients never cross, and every draw is seeded."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int16

from ecgopt.data.label_classes import LabelSet
from ecgopt.data.prepared import PreparedSet
from ecgopt.data.stratify import stratified_share
from ecgopt.errors import DataError
from ecgopt.seeds import seed_for

Rows = Int[np.ndarray, "_"]
"""Rows of a prepared set; of any number, since one function may return two of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EcgDataset:
    """The records that training sees: rows of a memory-mapped set, and their labels."""

    signals: Int16[np.ndarray, "stored lead time"] | Float32[np.ndarray, "stored lead time"]
    """All records of the prepared set, in whole microvolts, or as a network's own input; `rows`
    says which ones count."""
    rows: Int[np.ndarray, " record"]
    labels: Float32[np.ndarray, "record label"]
    classes: tuple[str, ...]
    records: tuple[str, ...]
    patients: tuple[str, ...]
    sampling_rate_hz: int = 100

    def __len__(self) -> int:
        return len(self.rows)

    def labels_without_both_classes(self) -> tuple[str, ...]:
        """Return the classes that all records carry, or none."""
        return labels_without_both_classes(self.labels > 0, self.classes)


@dataclass(frozen=True, slots=True)
class TuningData:
    """All that tuning may see; there is no test fold to misuse."""

    train: EcgDataset
    validation: EcgDataset


def dataset(prepared: PreparedSet, rows: Rows, label_set: LabelSet) -> EcgDataset:
    """Return the records `rows` of a prepared set with their labels."""
    table = prepared.records.iloc[rows]
    return EcgDataset(
        signals=prepared.signals,
        rows=np.asarray(rows),
        labels=row_labels(prepared, rows, label_set).astype(np.float32),
        classes=label_set.classes,
        records=tuple(table["record"]),
        patients=tuple(table["patient"]),
        sampling_rate_hz=prepared.sampling_rate_hz,
    )


def row_labels(
    prepared: PreparedSet, rows: Rows, label_set: LabelSet
) -> Bool[np.ndarray, "record label"]:
    """Return the labels of the records `rows`."""
    return label_set.encode(prepared.statements(rows))


def labelled_rows(prepared: PreparedSet, label_set: LabelSet) -> Rows:
    """Return the rows that carry any class; the PTB-XL benchmark uses no others."""
    return np.flatnonzero(prepared.labels(label_set).any(axis=1))


def stated_rows(prepared: PreparedSet) -> Rows:
    """Return the rows for which any statement is published; the others have no known label."""
    return np.flatnonzero(prepared.records["statement_codes"].map(len).to_numpy() > 0)


def labels_without_both_classes(
    labels: Bool[np.ndarray, "record label"], classes: Sequence[str]
) -> tuple[str, ...]:
    """Return the classes that all records carry, or none; no AUROC exists for them."""
    positives = labels.sum(axis=0)
    lacking = (positives == 0) | (positives == len(labels))
    return tuple(name for name, lacks in zip(classes, lacking, strict=True) if lacks)


def patients_part(prepared: PreparedSet, low: float, high: float, *, seed: int) -> Rows:
    """Return the records of the patients whose hash share lies in [`low`, `high`).

    With one seed, disjoint intervals give disjoint patients, whatever else the set holds.

    Raises:
        DataError: the interval is not within 0 to 1, or no patient falls into it.
    """
    if not 0 <= low < high <= 1:
        raise DataError(f"`0 <= low < high <= 1` must hold, but got low={low}, high={high}")
    share = _patient_shares(prepared, "patients part", seed)
    rows = np.flatnonzero((share >= low) & (share < high))
    if not len(rows):
        raise DataError(f"no patient falls into the part {low} to {high}; widen it")
    return rows


def pool_rows(
    prepared: PreparedSet,
    rows: Rows,
    *,
    test_folds: Sequence[int] | None,
    test_share: float | None,
    seed: int,
) -> Rows:
    """Return those of `rows` that may be trained on: all but the patients of the sealed test.

    The sealed rows themselves are found in `ecgopt.data.sealed`, which tuning may not import.

    Args:
        prepared: The prepared set.
        rows: The records to divide, by patient.
        test_folds: Folds of the data set's own split that make the test set.
        test_share: Instead of folds, the share of records whose patients make the test set.
        seed: Seed of the draw by share.

    Raises:
        DataError: not exactly one of the two ways is given, a fold is missing, a patient is on
            both sides of the folds, or a side is empty.
    """
    if test_folds is not None and test_share is None:
        is_test = _in_folds(prepared, rows, test_folds)
    elif test_share is not None and test_folds is None:
        is_test = _drawn_share(prepared, rows, test_share, seed)
    else:
        raise DataError("a test set needs either test_folds or test_share, not both")
    if is_test.all() or not is_test.any():
        side = "pool" if is_test.all() else "test set"
        raise DataError(f"the {side} is empty: {len(rows)} records, {int(is_test.sum())} for test")
    pool: Rows = rows[~is_test]
    return pool


def labelled_subset(
    prepared: PreparedSet,
    pool: Rows,
    n: int,
    *,
    seed: int,
    replicate: int,
) -> Rows:
    """Return `n` records of `pool`: whole patients in a drawn order, the last one cut to fit.

    For one seed and replicate a smaller subset is part of every larger one.

    Raises:
        DataError: the pool holds fewer than `n` records.
    """
    if not 1 <= n <= len(pool):
        raise DataError(f"`1 <= n <= {len(pool)}` must hold (the pool's size), but got n={n}")
    share = _patient_shares(prepared, "labelled subset", seed, replicate)[pool]
    order = np.lexsort((pool, share))
    return np.sort(pool[order[:n]])


def train_and_validation(
    prepared: PreparedSet,
    rows: Rows,
    labels: Bool[np.ndarray, "record label"],
    *,
    validation_share: float,
    seed: int,
) -> tuple[Rows, Rows]:
    """Return `rows` divided by patient so that each label keeps its share on both sides.

    A label carried by two or more patients has positives on both sides wherever the patients'
    other labels allow.

    Args:
        prepared: The prepared set.
        rows: The records to divide.
        labels: Their labels, one row each, in the order of `rows`.
        validation_share: Share of the records that goes to validation, in (0, 1).
        seed: Seed of the draw.

    Raises:
        DataError: the share is out of range, or the rows hold a single patient.
    """
    if not 0 < validation_share < 1:
        raise DataError(
            f"`0 < validation_share < 1` must hold, but got validation_share={validation_share}"
        )
    if len(labels) != len(rows):
        raise DataError(f"{len(rows)} rows need as many rows of labels, but got {len(labels)}")
    patients = prepared.records["patient"].to_numpy()[rows]
    names, group = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        raise DataError("at least two patients are needed to divide training and validation")
    generator = np.random.default_rng(seed_for("train and validation", seed))
    in_validation = stratified_share(group, labels, validation_share, generator)[group]
    return rows[~in_validation], rows[in_validation]


def split_fingerprint(prepared: PreparedSet, *parts: Rows) -> str:
    """Return a hash of the record names of each part, in the given order of parts."""
    names = prepared.records["record"].to_numpy()
    digest = hashlib.sha256()
    for part in parts:
        digest.update("\n".join(sorted(names[part])).encode() + b"\0")
    return digest.hexdigest()[:16]


def _patient_shares(
    prepared: PreparedSet, purpose: str, *seeds: int
) -> Float64[np.ndarray, " record"]:
    """Return each record's patient as a number in [0, 1) that depends on name and seeds only."""
    names, inverse = np.unique(prepared.records["patient"].to_numpy(), return_inverse=True)
    shares = np.array([seed_for(purpose, *seeds, str(name)) / 2.0**63 for name in names])
    return shares[inverse]


def _in_folds(
    prepared: PreparedSet, rows: Rows, test_folds: Sequence[int]
) -> Bool[np.ndarray, " record"]:
    table = prepared.records.iloc[rows]
    if table["fold"].isna().any():
        raise DataError(f"{prepared.source} has no folds of its own; give test_share instead")
    is_test = table["fold"].isin(list(test_folds)).to_numpy(dtype=np.bool_)
    patients = table["patient"].to_numpy()
    both = np.intersect1d(patients[is_test], patients[~is_test])
    if len(both):
        raise DataError(f"patient {both[0]} has records inside and outside folds {test_folds}")
    return is_test


def _drawn_share(
    prepared: PreparedSet, rows: Rows, test_share: float, seed: int
) -> Bool[np.ndarray, " record"]:
    """Return the patients with the smallest shares, until `test_share` of the records is met."""
    if not 0 < test_share < 1:
        raise DataError(f"`0 < test_share < 1` must hold, but got test_share={test_share}")
    share = _patient_shares(prepared, "test share", seed)[rows]
    distinct, counts = np.unique(share, return_counts=True)
    n_patients = int(np.searchsorted(np.cumsum(counts), test_share * len(rows))) + 1
    return np.asarray(share <= distinct[min(n_patients, len(distinct)) - 1])
