"""The real PTB-XL records that the benchmarks run on, prepared once per call."""

import os
from pathlib import Path

import numpy as np

from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.prepared import PreparedSet
from ecgopt.data.sources.catalog import source
from ecgopt.data.splits import EcgDataset, TuningData, dataset, labelled_rows

LABELS = "ptbxl_superclass"
SOURCE = "ptbxl"


def folders() -> list[Path]:
    """Return the folders of PTB-XL records under ECGOPT_DATA."""
    root = Path(os.environ.get("ECGOPT_DATA", "../shared/data")).resolve()
    found = [root / name for name in ("ptbxl_native", "ptbxl_resampled100")]
    missing = [str(folder) for folder in found if not folder.is_dir()]
    if missing:
        raise SystemExit(f"set ECGOPT_DATA to a folder of PTB-XL records: {missing[0]} is missing")
    return found


def prepared_records(destination: Path) -> PreparedSet:
    """Return all records, prepared into `destination`."""
    return prepare(SOURCE, folders(), destination, PrepareSettings(broken="drop"))


def parts_by_fold(prepared: PreparedSet) -> TuningData:
    """Return folds 1 to 7 for training and 8 to 10 for validation."""
    labels = label_set(LABELS)
    rows = labelled_rows(prepared, labels)
    folds = prepared.records["fold"].to_numpy()[rows]
    return TuningData(
        dataset(prepared, rows[folds <= 7], labels), dataset(prepared, rows[folds > 7], labels)
    )


def first_records(prepared: PreparedSet, n: int) -> TuningData:
    """Return `n` records to train on and two to validate on, for measurements of training alone."""
    labels = label_set(LABELS)
    rows = labelled_rows(prepared, labels)
    return TuningData(dataset(prepared, rows[:n], labels), dataset(prepared, rows[:2], labels))


def record_paths(prepared: PreparedSet, rows: np.ndarray) -> list[str]:
    """Return the WFDB names, without suffix, of prepared records."""
    headers = {entry.record: entry.files[0] for entry in source(SOURCE).entries(folders())}
    names = prepared.records["record"].to_numpy()[rows]
    return [str(headers[name].with_suffix("")) for name in names]


def millivolts(part: EcgDataset) -> np.ndarray:
    """Return the signals as plain scripts hold them."""
    return np.asarray(part.signals[part.rows] / 1000)
