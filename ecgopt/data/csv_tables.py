"""The tables of data sets: CSV, Parquet and Excel; a cell is text, whatever it begins with."""

import csv
import datetime
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgopt.errors import DataError, UserError, did_you_mean

TABLES = Path(__file__).parent / "tables"
"""Folder of the package's own tables."""

_MAX_BYTES = 1 << 29
_MAX_KEPT_BYTES = 1 << 26
"""Of an Excel file, without its sheets."""
_MAX_CELLS = 1 << 26
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_STATED_DELIMITER = re.compile(r"\ufeff?sep=(.)\s*", re.IGNORECASE)
"""A first line that tells Excel the delimiter."""
_DELIMITERS = (",", ";", "\t", "|")


def table_rows(table: str) -> list[dict[str, str]]:
    """Return the rows of one of the package's own tables."""
    with (TABLES / table).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class Row(dict[str, str]):
    """One row of a table: column to cell."""

    def __init__(self, cells: Mapping[str, str], line: int) -> None:
        super().__init__(cells)
        self.line = line
        """Line of the file in which the row ends."""
        self.missing_from = ""
        """Name of a table that has no row for this one's key, empty where all have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableForm:
    """How a table is written, where its file does not tell."""

    delimiter: str | None = None
    """What divides the cells of a CSV file; None: the one under which the columns are found."""
    encoding: str | None = None
    """Name of the encoding of a CSV file; None: UTF-8, or UTF-16 with its mark."""
    sheet: str | None = None
    """Sheet of an Excel file; None: the first."""


def read_rows(
    path: Path,
    columns: Sequence[str],
    *,
    keep: Callable[[str], object] = bool,
    form: TableForm | None = None,
) -> Sequence[Row]:
    """Return the rows of a table, each with at least `columns`; wholly empty rows are skipped.

    Args:
        path: A CSV file, or one that ends in `.parquet` or `.xlsx`.
        columns: Columns that must be there.
        keep: Decides which other columns are returned; by default all that have a name.
        form: How the table is written.

    Raises:
        UserError: the library for Excel files is not installed.
        DataError: the file is missing, unreadable or too large, no table of its kind, lacks a
            column or has it twice, or a row has more or fewer cells than there are columns.
    """
    form = form or TableForm()
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(
                f"{path}: is larger than {_MAX_BYTES >> 20} MiB; no data set's table is"
            )
        lines = _lines(path, columns, form)
        _, names = next(lines, (1, []))
        _refuse_columns(path, names, columns)
        places = [(i, name) for i, name in enumerate(names) if name in columns or keep(name)]
        if keep is not bool:
            _refuse_twins(path, [name for _, name in places])
        return list(_rows(path, lines, names, places))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the folder") from error
    except (UnicodeDecodeError, LookupError) as error:
        why = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        stated = form.encoding or "UTF-8"
        raise DataError(
            f"{path}: must be {stated} text: {why}; the description of an own data set may state "
            'another encoding, such as encoding = "cp1252"'
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table: {error}") from error


def _lines(
    path: Path, columns: Sequence[str], form: TableForm
) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield number and cells of each line, the names of the columns first."""
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    if path.suffix.lower() == ".xlsx":
        return _excel(path, form.sheet)
    return _csv(path, columns, form)


def _rows(
    path: Path,
    lines: Iterator[tuple[int, Sequence[str]]],
    names: Sequence[str],
    places: Sequence[tuple[int, str]],
) -> Iterator[Row]:
    n_cells = 0
    n_columns, expected = len(names), 0
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        expected = expected or _expected_cells(names, cells)
        if len(cells) != expected or any(cells[n_columns:]):
            raise DataError(
                f"{path}: line {line} has {len(cells)} cells, but the table has {n_columns} "
                "columns; put text with commas in double quotes"
            )
        n_cells += len(places)
        if n_cells > _MAX_CELLS:
            raise DataError(f"{path}: has more than {_MAX_CELLS:,} cells; no data set's table has")
        yield Row({name: cells[place] for place, name in places}, line)


def _expected_cells(names: Sequence[str], first: Sequence[str]) -> int:
    """Return the cells of every row: some writers end rows, or the first line, by a delimiter."""
    n_columns = len(names)
    ends_rows = len(first) == n_columns + 1 and not first[-1]
    ends_names = len(first) == n_columns - 1 and not names[-1]
    return len(first) if ends_rows or ends_names else n_columns


def _csv(
    path: Path, columns: Sequence[str], form: TableForm
) -> Iterator[tuple[int, Sequence[str]]]:
    with path.open("rb") as stream:
        head = stream.read(4)
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
    with path.open(newline="", encoding=form.encoding or marked or "utf-8") as stream:
        first, n_before = "\n", 0
        start = stream.tell()
        while first and not first.strip("\ufeff \t\r\n"):
            first = stream.readline(1 << 20)
            n_before += 1
        stated = _STATED_DELIMITER.fullmatch(first)
        if stated is None:
            stream.seek(start)
        delimiter = form.delimiter or (stated and stated[1]) or _delimiter(first, columns)
        # Strict: a quotation mark that nothing closes would swallow all rows after it.
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        begun = False
        for cells in reader:
            line = reader.line_num + (0 if stated is None else n_before)
            if not begun and cells:
                begun = True
                cells = [name.strip().removeprefix("\ufeff") for name in cells]
            if begun:
                yield line, cells


def _delimiter(first: str, columns: Sequence[str]) -> str:
    """Return the delimiter that gives the most of the wanted columns, else the most columns."""

    def fit(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter), [])
        return len({name.strip().removeprefix("\ufeff") for name in names} & {*columns}), len(names)

    return max(_DELIMITERS, key=fit)


def _parquet(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            yield 1, names
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            if sum(group.total_byte_size for group in groups) > _MAX_BYTES:
                raise DataError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB when unpacked")
            # A column of one repeated text takes next to no bytes in the file.
            if file.metadata.num_rows * len(names) > _MAX_CELLS:
                raise DataError(f"{path}: has more than {_MAX_CELLS:,} cells")
            line = 1
            for batch in file.iter_batches(batch_size=10_000):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    line += 1
                    yield line, [_as_text(cell) for cell in cells]
    except (pyarrow.ArrowException, ValueError, TypeError, KeyError, MemoryError) as error:
        raise DataError(f"{path}: is no sound Parquet file: {str(error)[:200]}") from error


def _excel(path: Path, wanted: str | None) -> Iterator[tuple[int, Sequence[str]]]:
    try:
        import openpyxl
    except ImportError as error:
        raise UserError(
            f"{path}: Excel files need openpyxl: run `pip install 'ecgopt[clinic]'`, or save the "
            "table as CSV"
        ) from error
    try:
        _refuse_bomb(path)
        book = openpyxl.load_workbook(io.BytesIO(path.read_bytes()), read_only=True, data_only=True)
        if wanted is not None and wanted not in book.sheetnames:
            hint = did_you_mean(wanted, book.sheetnames)
            raise DataError(f"{path}: sheet {wanted!r} is missing: {hint}")
        sheet = book.worksheets[0] if wanted is None else book[wanted]
        n_columns = 0
        for line, values in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells = [_as_text(value) for value in values]
            if line == 1:
                n_columns = max((i for i, cell in enumerate(cells, 1) if cell.strip()), default=0)
                yield line, [cell.strip() for cell in cells[:n_columns]]
            else:
                # Formatted cells without content may lie to the right of the table.
                beyond = [cell for cell in cells[n_columns:] if cell.strip()]
                inside = [*cells[:n_columns], *[""] * (n_columns - len(cells))]
                yield line, inside + beyond
    except UserError:
        raise
    except Exception as error:
        detail = f"{type(error).__name__}: {str(error)[:160]}"
        raise DataError(f"{path}: is no sound Excel file: {detail}") from error


def _refuse_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        items = archive.infolist()
    # Sheets are read row by row; openpyxl keeps the rest, such as the texts, in memory.
    kept = [item for item in items if not item.filename.startswith("xl/worksheets/")]
    for part, limit in ((items, _MAX_BYTES), (kept, _MAX_KEPT_BYTES)):
        if sum(item.file_size for item in part) > limit:
            raise DataError(f"{path}: is larger than {limit >> 20} MiB when unpacked")


def _as_text(value: Any) -> str:  # noqa: ANN401 a cell of any type
    """Return a typed cell as a CSV file has it."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _refuse_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    if not names:
        raise DataError(f"{path}: is empty: its first line must name the columns")
    for column in columns:
        if column not in names:
            raise DataError(f"{path}: column {column!r} is missing: {did_you_mean(column, names)}")
    _refuse_twins(path, [name for name in names if name in columns])


def _refuse_twins(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}: column {name!r} occurs {names.count(name)} times")
