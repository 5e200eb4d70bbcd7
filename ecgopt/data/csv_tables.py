"""The CSV tables of data sets; a cell is text and nothing else, whatever it begins with."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecgopt.errors import DataError

TABLES = Path(__file__).parent / "tables"
"""Folder of the package's own tables."""

_MAX_BYTES = 1 << 29


def table_rows(table: str) -> list[dict[str, str]]:
    """Return the rows of one of the package's own tables."""
    with (TABLES / table).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_rows(path: Path, columns: Sequence[str]) -> Sequence[Mapping[str, str]]:
    """Return the rows of a CSV file, each with at least `columns`.

    Raises:
        DataError: the file is missing, unreadable, no UTF-8 text, or lacks a column.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(
                f"{path}: is larger than {_MAX_BYTES >> 20} MiB; no data set's table is"
            )
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: column {missing[0]!r} is missing; the table has "
                    f"{', '.join((reader.fieldnames or ())[:20]) or 'none'}"
                )
            return list(reader)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; check the folder") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: must be UTF-8 text: {error.reason}") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table: {error}") from error
