"""A prepared data set on disk: memory-mapped signals, a table of records, and a manifest."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int, Int16

from ecgopt.data.label_classes import LabelSet
from ecgopt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SIGNALS = "signals.npy"
RECORDS = "records.parquet"
MANIFEST = "manifest.json"
_FINGERPRINT = re.compile(r"-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """Signals of all kept records and what is known of them; row i of both is the same record."""

    folder: Path
    fingerprint: str
    """Hash of source, reader version, settings and the identity of the input files."""
    signals: Int16[np.ndarray, "record lead time"]
    """Microvolts, memory-mapped and read-only."""
    records: "pd.DataFrame"
    """Columns: record, patient, patient_published, fold, age_years, sex, statement_codes,
    statement_likelihoods, and what was done to the signal."""
    manifest: Mapping[str, Any]
    """Source, settings, and how many records were kept, cut, padded, repaired and dropped."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def sampling_rate_hz(self) -> int:
        """Samples per second of every record."""
        return int(self.manifest["settings"]["sampling_rate_hz"])

    @property
    def source(self) -> str:
        """Name of the data set."""
        return str(self.manifest["source"])

    def statements(self, rows: Int[np.ndarray, " chosen"] | None = None) -> list[dict[str, float]]:
        """Return the statements of all records or of `rows`, code to likelihood in percent."""
        table = self.records if rows is None else self.records.iloc[rows]
        pairs = zip(table["statement_codes"], table["statement_likelihoods"], strict=True)
        return [dict(zip(codes, values, strict=True)) for codes, values in pairs]

    def labels(self, label_set: LabelSet) -> Bool[np.ndarray, "record label"]:
        """Return True where a record carries a class of `label_set`."""
        return label_set.encode(self.statements())


def open_prepared(folder: Path) -> PreparedSet:
    """Return the prepared set in `folder`; signals are mapped, not read.

    Raises:
        DataError: `folder` is no prepared set or a damaged one.
    """
    import pandas as pd

    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        records = pd.read_parquet(folder / RECORDS)
        signals = np.load(folder / SIGNALS, mmap_mode="r", allow_pickle=False)
        fingerprint = str(manifest["fingerprint"])
    except FileNotFoundError as error:
        raise DataError(f"{folder} is no prepared set: {error.filename} is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} is a damaged prepared set ({error}); remove it and prepare again"
        ) from error
    if signals.dtype != np.int16 or signals.ndim != 3 or len(signals) != len(records):
        raise DataError(f"{folder} is a damaged prepared set; remove it and prepare again")
    return PreparedSet(folder, fingerprint, signals, records, manifest)


def find_prepared(folder: Path, name: str, *, description: str | None = None) -> Path:
    """Return the folder of the newest prepared set of the data set `name` below `folder`.

    Args:
        folder: Folder of prepared sets.
        name: The data set's name.
        description: The file that describes it, where it is one's own.

    Raises:
        DataError: there is none; the message says how to make one.
    """
    found = [path for path in folder.glob(f"{name}-*") if (path / MANIFEST).exists()]
    found = [path for path in found if _FINGERPRINT.fullmatch(path.name.removeprefix(name))]
    if not found:
        raise DataError(
            f"{name} is not prepared in {folder}; run `ecgopt data prepare "
            f"{description or f'{name} --from DIR'}`"
        )
    return max(found, key=lambda path: ((path / MANIFEST).stat().st_mtime, path.name))
