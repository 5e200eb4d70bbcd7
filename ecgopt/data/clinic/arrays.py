"""Arrays without a description: NumPy, HDF5 and CSV files, described by options."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Num

from ecgopt.data.clinic.recording import (
    MAX_BYTES,
    MAX_VALUES,
    Recording,
    checked_rate,
    from_microvolts,
    microvolts_of,
)
from ecgopt.data.hdf5_files import open_dataset
from ecgopt.data.signals import LEADS, lead_name
from ecgopt.errors import RecordError, UserError

_MOST_INFLATION = 1100
"""No filter of HDF5 that is in use packs more bytes into one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayForm:
    """What arrays do not say themselves."""

    rate: float | None = None
    """Samples per second."""
    unit: str | None = None
    """Unit of the values, such as uV or mV."""
    leads: tuple[str, ...] = LEADS
    """Order of the leads; CSV files name them in their first line."""
    dataset: str | None = None
    """Name of the data set within HDF5 files."""

    def microvolts(self, values: Num[np.ndarray, "lead time"], record: str) -> Recording:
        """Return a recording of `values`."""
        if self.rate is None or self.unit is None:
            raise UserError(
                "arrays name neither sampling rate nor unit: give both, such as `--rate 500 --unit "
                "mV`"
            )
        per_unit = microvolts_of(self.unit, record=record)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.asarray(values, dtype=np.float64) * per_unit
        samples, gain, baseline = from_microvolts(scaled, record=record)
        return Recording(
            leads=tuple(map(lead_name, self.leads)),
            samples=samples,
            gain=gain,
            baseline=baseline,
            sampling_rate_hz=checked_rate(self.rate, record=record),
        )


def read_numpy(path: Path, form: ArrayForm) -> Iterator[Recording]:
    """Yield the recordings of a `.npy` file, which is read piece by piece.

    Raises:
        RecordError: it is damaged, holds objects, or its shape does not fit.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        # NumPy evaluates the header as Python text, which may fail in many ways.
        detail = f"{path.name}: {type(error).__name__}: {str(error)[:160]}"
        raise RecordError(path.stem, "it is no sound .npy file", detail) from error
    if array.dtype.kind not in "fiu":
        raise RecordError(path.stem, "it must hold numbers", f"{path.name}: {array.dtype}")
    yield from _recordings(array, path.stem, form)


def read_hdf5(path: Path, form: ArrayForm) -> Iterator[Recording]:
    """Yield the recordings of one data set of an HDF5 file, which is read piece by piece.

    Raises:
        UserError: no data set is named.
        RecordError: the file is damaged, or the shape of the data set does not fit.
    """
    if form.dataset is None:
        raise UserError(f"{path.name}: name the data set within the HDF5 file by `--dataset NAME`")
    with open_dataset(path, form.dataset, record=path.stem) as dataset:
        stored, whole = (
            dataset.id.get_storage_size(),
            math.prod(dataset.shape) * dataset.dtype.itemsize,
        )
        if whole > _MOST_INFLATION * stored + (1 << 20):
            # Parts that were never written would become records of zeros, and fill the disk.
            detail = f"{whole} bytes of which {stored} are stored"
            raise RecordError(path.stem, f"{form.dataset} is not written in full", detail)
        yield from _recordings(dataset, path.stem, form)


def _recordings(array: "np.ndarray", record: str, form: ArrayForm) -> Iterator[Recording]:
    """Yield recordings from (record, lead, time) or (record, time, lead), or from one of them."""
    n_leads = len(form.leads)
    shape = tuple(size for size in array.shape if size != 1)
    places = [place for place, size in enumerate(shape[-2:]) if size == n_leads]
    if len(shape) not in {2, 3} or len(places) != 1 or 0 in shape:
        detail = f"{array.shape}: one of the last two dimensions must be the {n_leads} leads"
        raise RecordError(record, "the shape of its array does not fit", detail)
    if math.prod(shape[-2:]) > MAX_VALUES:
        raise RecordError(record, "it is too long: cut it first", f"shape {array.shape}")
    n_records = shape[0] if len(shape) == 3 else 1
    whole = len(shape) == 2
    for row in range(n_records):
        try:
            values = np.asarray(array[...] if whole else _row(array, row)).reshape(shape[-2:])
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise RecordError(record, "its array is damaged", str(error)[:160]) from error
        yield form.microvolts(values if places == [0] else values.T, record)


def _row(array: "np.ndarray", row: int) -> "np.ndarray":
    """Return one record; a first dimension of 1 cannot be that of several records."""
    axis = next(place for place, size in enumerate(array.shape) if size != 1)
    return array[(slice(None),) * axis + (row,)]


def read_csv(path: Path, form: ArrayForm) -> Recording:
    """Return the recording of a table with one column per lead and one line per sample.

    The first line names the leads; columns of time and those that are no lead are left out. Cells
    are divided by `;`, tab or `,`; with the first two, a comma may divide the fraction.

    Raises:
        RecordError: the file is too large, no text, or a cell is no number.
    """
    record = path.stem
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecordError(record, f"it is larger than {MAX_BYTES >> 20} MiB", path.name)
        with path.open(newline="", encoding="utf-8-sig") as stream:
            names, delimiter = _columns(stream.readline(1 << 16))
            columns = [place for place, name in enumerate(names) if name in LEADS]
            values = _cells(csv.reader(stream, delimiter=delimiter), columns, delimiter, record)
    except OSError as error:
        raise RecordError(record, "it cannot be read", error.strerror or str(error)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(record, "it is no CSV table in UTF-8", str(error)[:120]) from error
    named = ArrayForm(
        rate=form.rate, unit=form.unit, leads=tuple(names[place] for place in columns)
    )
    return named.microvolts(values.T, record)


def names_leads(head: bytes) -> bool:
    """Return True if the first line of a CSV file names a lead."""
    names, _ = _columns(head.decode("utf-8-sig", "replace").partition("\n")[0])
    return any(name in LEADS for name in names)


def _columns(line: str) -> tuple[list[str], str]:
    """Return the names in the first line of a CSV file, as in `LEADS`, and what divides them."""
    delimiter = next((each for each in ";\t" if each in line), ",")
    cells = next(csv.reader(line.splitlines()[:1], delimiter=delimiter), [])
    return [lead_name(cell) for cell in cells], delimiter


def _cells(
    rows: Iterator[list[str]], columns: list[int], delimiter: str, record: str
) -> Float64[np.ndarray, "time lead"]:
    values: list[list[float]] = []
    for line, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            cells = [row[place] for place in columns]
            if delimiter != ",":
                cells = [cell.replace(",", ".") for cell in cells]
            values.append([float(cell) if cell.strip() else math.nan for cell in cells])
        except (ValueError, IndexError) as error:
            reason = "a line has too few cells or no numbers"
            raise RecordError(record, reason, f"line {line}: {str(error)[:80]}") from error
    return np.array(values, dtype=np.float64).reshape(len(values), len(columns))
