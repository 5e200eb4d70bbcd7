"""Scores of a final fit on the sealed test, as a file with a hash."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgopt.errors import DataError
from ecgopt.files import sha256_of, write_whole
from ecgopt.shapes import Float32, LabelMatrix, ScoreMatrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Scores of one final fit, with the truth and the patients they belong to."""

    labels: LabelMatrix
    scores: ScoreMatrix
    records: tuple[str, ...]
    patients: tuple[str, ...]
    classes: tuple[str, ...]
    subgroups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`sex` and `age`, each with the group of every record, empty text where it is not stated;
    empty where the groups were not recorded, as for validation records."""


_SUBGROUP = "subgroup_"
"""Begins the names of the arrays of subgroups."""


def write_predictions(predictions: Predictions, folder: Path) -> tuple[Path, str]:
    """Write `predictions` to `folder`, and return the file and the SHA-256 that names it.

    Because its content names it, no other writer can put other predictions in its place.
    """
    scores: Float32[np.ndarray, "record label"] = predictions.scores.astype(np.float32)
    content = io.BytesIO()
    groups: Any = {
        f"{_SUBGROUP}{name}": np.array(groups, dtype=np.str_)
        for name, groups in predictions.subgroups.items()
    }  # the stubs know no arrays by name
    np.savez(
        content,
        labels=predictions.labels.astype(np.uint8),
        scores=scores,
        records=np.array(predictions.records, dtype=np.str_),
        patients=np.array(predictions.patients, dtype=np.str_),
        classes=np.array(predictions.classes, dtype=np.str_),
        **groups,
    )
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    return write_whole(folder / f"{digest}.npz", content.getvalue()), digest


def read_predictions(path: Path, sha256: str | None = None) -> Predictions:
    """Return the predictions stored at `path`.

    Args:
        path: An .npz file with `labels`, `scores`, `records`, `patients`, `classes`, and maybe
            `subgroup_sex` and `subgroup_age`.
        sha256: What the file must hash to; None skips the check.

    Raises:
        DataError: the file is missing, altered or incomplete.
    """
    if not path.is_file():
        raise DataError(f"predictions {path}: no such file: restore it from the bundle")
    if sha256 and (found := sha256_of(path)) != sha256:
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
                subgroups={
                    name.removeprefix(_SUBGROUP): _one_each(stored[name], len(stored["records"]))
                    for name in stored.files
                    if name.startswith(_SUBGROUP)
                },
            )
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"predictions {path}: not a predictions file ({error})") from error


def _one_each(groups: np.ndarray, n_records: int) -> tuple[str, ...]:
    if groups.shape != (n_records,):
        raise ValueError(f"{n_records} records, but subgroups of shape {groups.shape}")
    return tuple(map(str, groups.tolist()))
