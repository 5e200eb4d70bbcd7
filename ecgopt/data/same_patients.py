"""The same person in two data sets: an upstream must not leak into a downstream test."""

import numpy as np
from jaxtyping import Float64, Int16

from ecgopt.data.prepared import PreparedSet
from ecgopt.data.splits import Rows

_NEAR = 0.25
"""Largest difference of two sketches that may belong to copies; the leads then decide."""
_LEAST_CORRELATION = 0.995


def shared_patients(first: PreparedSet, second: PreparedSet) -> frozenset[str]:
    """Return the patients of `first` that also occur in `second`.

    Patients are the same if their names are equal (readers name PTB-XL's patients alike in PTB-XL
    and in its challenge copies HR00001..., and the records of CPSC2018 alike in both issues), or
    if a recording of theirs is stored in both sets, with equal samples or rounded otherwise.
    """
    equal_names = set(first.records["patient"]) & set(second.records["patient"])
    rows = copied_rows(first, second)
    return frozenset(equal_names | set(first.records["patient"].iloc[rows]))


def copied_rows(first: PreparedSet, second: PreparedSet) -> Rows:
    """Return the rows of `first` whose recording is in `second` too, whatever its gain or offset.

    Sets of another rate or length are compared by the hash of their samples alone.
    """
    equal = first.records["signal_hash"].isin(set(second.records["signal_hash"])).to_numpy().copy()
    if first.signals.shape[1:] != second.signals.shape[1:]:
        return np.flatnonzero(equal)
    from scipy.spatial import KDTree

    left = np.flatnonzero(~equal)
    if not len(left):
        return np.flatnonzero(equal)
    near = KDTree(_sketches(second)).query_ball_point(
        _sketches(first)[left], r=_NEAR, p=np.inf, return_sorted=False
    )
    for row, candidates in zip(left, near, strict=True):
        equal[row] = any(
            _is_copy(first.signals[row], second.signals[candidate]) for candidate in candidates
        )
    return np.flatnonzero(equal)


def copies_within(prepared: PreparedSet) -> list[tuple[int, int]]:
    """Return the pairs of rows of a set that hold one recording, whatever its gain or offset."""
    from scipy.spatial import KDTree

    near = KDTree(_sketches(prepared)).query_pairs(_NEAR, p=np.inf)
    signals = prepared.signals
    return sorted((a, b) for a, b in near if _is_copy(signals[a], signals[b]))


def _sketches(prepared: PreparedSet) -> Float64[np.ndarray, "record number"]:
    return np.stack([np.asarray(each, dtype=np.float64) for each in prepared.records["sketch"]])


def _is_copy(first: Int16[np.ndarray, "lead time"], second: Int16[np.ndarray, "lead time"]) -> bool:
    """Return True if every lead of both runs alike; flat leads do not count."""
    a, b = (np.asarray(each, dtype=np.float64) for each in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    known = size > 0
    return bool(
        known.any() and ((a * b).sum(axis=1)[known] / size[known]).min() > _LEAST_CORRELATION
    )


def without_patients(prepared: PreparedSet, rows: Rows, patients: frozenset[str]) -> Rows:
    """Return the `rows` whose patient is not among `patients`."""
    named = prepared.records["patient"].iloc[rows].isin(patients).to_numpy(dtype=np.bool_)
    return rows[~named]
