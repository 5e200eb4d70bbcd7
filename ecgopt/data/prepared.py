"""A prepared data set on disk: memory-mapped signals, a table of records, and a manifest."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int, Int16

from ecgopt.data.label_classes import LabelSet
from ecgopt.errors import DataError
from ecgopt.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

SIGNALS = "signals.npy"
RECORDS = "records.parquet"
MANIFEST = "manifest.json"
_LOCAL = "local.json"
"""What one machine knows of the set: where its input lies, and that its files were verified."""
_FINGERPRINT = re.compile(r"-[0-9a-f]{12}")

logger = logging.getLogger(__name__)


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


def open_prepared(folder: Path, *, recheck: bool = False) -> PreparedSet:
    """Return the prepared set in `folder`; signals are mapped, and read only to verify them.

    Both files are compared with their SHA-256 in the manifest when they are first opened on this
    machine, and again whenever their size or time of change differs.

    Args:
        folder: The folder.
        recheck: Compare them now, whatever was compared before.

    Raises:
        DataError: `folder` is no prepared set, or a damaged one.
    """
    import pandas as pd

    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        _verify(folder, manifest, recheck=recheck)
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


def _verify(folder: Path, manifest: Mapping[str, Any], *, recheck: bool) -> None:
    """Raise if a file is not the one that was prepared."""
    wanted = {SIGNALS: manifest["signals_sha256"], RECORDS: manifest["records_sha256"]}
    status = {name: (folder / name).stat() for name in wanted}
    state = {
        name: [wanted[name], found.st_size, found.st_mtime_ns] for name, found in status.items()
    }
    if not recheck and read_local(folder).get("verified") == state:
        return
    for name, sha256 in wanted.items():
        with (folder / name).open("rb") as stream:
            if name == SIGNALS:
                # The hash is that of the samples alone.
                np.lib.format.read_magic(stream)
                np.lib.format.read_array_header_1_0(stream)
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                raise DataError(
                    f"{folder / name} is not the file that was prepared: its SHA-256 differs; "
                    "remove the folder and prepare again"
                )
    write_local(folder, {"verified": state})


def read_local(folder: Path) -> dict[str, Any]:
    """Return what this machine has noted about the prepared set in `folder`."""
    try:
        noted: dict[str, Any] = json.loads((folder / _LOCAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted


def write_local(folder: Path, notes: Mapping[str, Any]) -> None:
    """Add to what this machine has noted; a folder that cannot be written is left as it is."""
    path = folder / _LOCAL
    try:
        write_whole(path, json.dumps(read_local(folder) | dict(notes), indent=1).encode())
    except OSError as error:
        logger.info("%s cannot be written, so the set is verified at each opening: %s", path, error)


def other_prepared(prepared: PreparedSet) -> list[PreparedSet]:
    """Return the newest set of equal form of each other data set in the folder of `prepared`."""
    parent = prepared.folder.parent
    names = {path.parent.name[:-13] for path in parent.glob(f"*/{MANIFEST}")} - {prepared.source}
    found: list[PreparedSet] = []
    for name in sorted(names):
        for folder in prepared_folders(parent, name):
            try:
                other = open_prepared(folder)
            except DataError as error:
                logger.warning("not compared with %s: %s", folder.name, error)
                continue
            if other.manifest["settings"] == prepared.manifest["settings"]:
                found.append(other)
                break
    return found


def prepared_folders(folder: Path, name: str) -> list[Path]:
    """Return the folders of all prepared sets of the data set `name` below `folder`, newest first.

    Args:
        folder: Folder of prepared sets.
        name: The data set's name.
    """
    found = [path for path in folder.glob(f"{name}-*") if (path / MANIFEST).exists()]
    found = [path for path in found if _FINGERPRINT.fullmatch(path.name.removeprefix(name))]
    return sorted(found, key=lambda path: -(path / MANIFEST).stat().st_mtime)
