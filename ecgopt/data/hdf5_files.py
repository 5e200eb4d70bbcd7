"""Data sets inside HDF5 files, opened so that no file can point at another one."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ecgopt.errors import RecordError

MAX_CHUNK_BYTES = 64 << 20


@contextmanager
def open_dataset(path: Path, name: str, *, record: str) -> Iterator[Any]:
    """Give the data set `name` at the root of the HDF5 file `path`, not yet read.

    Raises:
        RecordError: the file is missing or damaged, or the data set is absent, no numbers, stored
            outside the file, or in chunks that do not fit the memory.
    """
    import h5py

    if not path.exists():
        # HDF5's own words for this are those for a damaged file.
        raise RecordError(record, "its file is missing", str(path))
    try:
        with h5py.File(path, "r") as file:
            # External links, external storage and virtual data sets may name any file on disk.
            link = file.get(name, getlink=True)
            dataset = file[name] if isinstance(link, h5py.HardLink) else None
            if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
                raise RecordError(record, f"it must hold a data set {name!r} of its own", path.name)
            if dataset.dtype.kind not in "fiu" or not np.issubdtype(dataset.dtype, np.number):
                raise RecordError(record, f"{name} must be numbers", path.name)
            # One sample of a compressed chunk costs the memory of the whole chunk.
            if math.prod(dataset.chunks or ()) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
                reason = f"{name} has chunks larger than {MAX_CHUNK_BYTES >> 20} MiB"
                raise RecordError(record, reason, f"{path.name}: {dataset.chunks}")
            yield dataset
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        detail = f"{path}: {str(error)[:160]}"
        raise RecordError(record, "it cannot be read as HDF5", detail) from error
