"""The CSV tables of data sets; a cell is text and nothing else, whatever it begins with."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecgopt.errors import DataError, did_you_mean

TABLES = Path(__file__).parent / "tables"
"""Folder of the package's own tables."""

_MAX_BYTES = 1 << 29


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


def read_rows(path: Path, columns: Sequence[str]) -> Sequence[Row]:
    """Return the rows of a CSV file, each with at least `columns`; wholly empty rows are skipped.

    Raises:
        DataError: the file is missing, unreadable, no UTF-8 text, lacks a column or has it twice,
            or a row has more or fewer cells than there are columns.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(
                f"{path}: is larger than {_MAX_BYTES >> 20} MiB; no data set's table is"
            )
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            names = next(reader, [])
            _refuse_columns(path, names, columns)
            rows: list[Row] = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(names):
                    raise DataError(
                        f"{path}: line {reader.line_num} has {len(cells)} cells, but the table has "
                        f"{len(names)} columns; put text with commas in double quotes"
                    )
                rows.append(Row(dict(zip(names, cells, strict=True)), reader.line_num))
            return rows
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; check the folder") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: must be UTF-8 text: {error.reason}") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table: {error}") from error


def _refuse_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            raise DataError(f"{path}: column {column!r} is missing: {did_you_mean(column, names)}")
        if names.count(column) > 1:
            raise DataError(f"{path}: column {column!r} occurs {names.count(column)} times")
