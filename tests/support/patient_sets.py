"""Prepared sets about whose signals nothing is asked: only who is whose record."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgopt.data.prepared import PreparedSet


def made_set(patients: list[str], *, folds: list[int] | None = None) -> PreparedSet:
    """Return a prepared set of records that differ in nothing but patient, fold and statements."""
    n = len(patients)
    records = pd.DataFrame(
        {
            "record": [f"r{i:04d}" for i in range(n)],
            "patient": patients,
            "fold": pd.array(folds or [None] * n, dtype="Int16"),
            "statement_codes": [["a"] if i % 3 == 0 else [] for i in range(n)],
            "statement_likelihoods": [[100.0] if i % 3 == 0 else [] for i in range(n)],
        }
    )
    manifest = {"source": "x", "settings": {"sampling_rate_hz": 100}}
    return PreparedSet(Path(), "f", np.zeros((n, 12, 4), dtype=np.int16), records, manifest)
