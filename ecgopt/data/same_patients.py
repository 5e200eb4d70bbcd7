"""The same person in two data sets: an upstream must not leak into a downstream test."""

import numpy as np
from jaxtyping import Int

from ecgopt.data.prepared import PreparedSet

Rows = Int[np.ndarray, "_"]


def shared_patients(first: PreparedSet, second: PreparedSet) -> frozenset[str]:
    """Return the patients of `first` that also occur in `second`.

    Patients are the same if their names are equal (readers name PTB-XL's patients alike in PTB-XL
    and in its challenge copies HR00001..., and the records of CPSC2018 alike in both issues), or
    if a recording of theirs is stored with equal samples in both sets.
    """
    equal_names = set(first.records["patient"]) & set(second.records["patient"])
    copied = first.records["signal_hash"].isin(set(second.records["signal_hash"]))
    return frozenset(equal_names | set(first.records.loc[copied, "patient"]))


def without_patients(prepared: PreparedSet, rows: Rows, patients: frozenset[str]) -> Rows:
    """Return the `rows` whose patient is not among `patients`."""
    named = prepared.records["patient"].iloc[rows].isin(patients).to_numpy(dtype=np.bool_)
    return rows[~named]
