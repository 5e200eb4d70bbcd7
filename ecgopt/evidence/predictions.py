"""Scores of a final fit on the sealed test, as a file with a hash."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgopt.errors import DataError
from ecgopt.shapes import Float32, LabelMatrix, ScoreMatrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Scores of one final fit, with the truth and the patients they belong to."""

    labels: LabelMatrix
    scores: ScoreMatrix
    records: tuple[str, ...]
    patients: tuple[str, ...]
    classes: tuple[str, ...]


def write_predictions(predictions: Predictions, path: Path) -> str:
    """Write `predictions` as .npz, atomically, and return the SHA-256 of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scores: Float32[np.ndarray, "record label"] = predictions.scores.astype(np.float32)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        np.savez(
            file,
            labels=predictions.labels.astype(np.uint8),
            scores=scores,
            records=np.array(predictions.records, dtype=np.str_),
            patients=np.array(predictions.patients, dtype=np.str_),
            classes=np.array(predictions.classes, dtype=np.str_),
        )
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    temporary.replace(path)
    return digest


def read_predictions(path: Path, sha256: str | None = None) -> Predictions:
    """Return the predictions stored at `path`.

    Args:
        path: An .npz file with `labels`, `scores`, `records`, `patients`, `classes`.
        sha256: What the file must hash to; None skips the check.

    Raises:
        DataError: the file is missing, altered or incomplete.
    """
    if not path.is_file():
        raise DataError(f"predictions {path}: no such file: restore it from the bundle")
    if sha256 and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != sha256:
        raise DataError(
            f"predictions {path}: SHA-256 must be {sha256}, but is {found}: "
            "the file was altered after it was recorded"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Predictions(
                labels=stored["labels"].astype(bool),
                scores=stored["scores"].astype(np.float64),
                records=tuple(stored["records"].tolist()),
                patients=tuple(stored["patients"].tolist()),
                classes=tuple(stored["classes"].tolist()),
            )
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"predictions {path}: not a predictions file ({error})") from error
