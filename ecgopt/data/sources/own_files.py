"""A user's own data: a folder of WFDB records and a CSV table, described in one TOML file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from ecgopt.data.csv_tables import Row, read_rows
from ecgopt.data.label_classes import LabelSet
from ecgopt.data.listing import Listing, existing_folders, find_files, listing
from ecgopt.data.records import (
    NO_FINDING,
    Reading,
    RecordEntry,
    RecordFacts,
    number_or_none,
    sex_of,
)
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError, did_you_mean
from ecgopt.toml_errors import OWN_NAME_FORM, BrokenRule, TomlTable, read_toml

_RECORD = re.compile(r"(?:[\w-][\w.-]*/){0,8}[\w-][\w.-]*")
_TRUE, _FALSE = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


Column = Annotated[str, Field(min_length=1, max_length=200)]
Folder = Annotated[str, Field(min_length=1, max_length=1_000)]
Code = Annotated[str, Field(min_length=1, max_length=200)]


class _Table(TomlTable):
    model_config = ConfigDict(str_strip_whitespace=True)


class Columns(_Table):
    """Names of the table's columns; only `record` is needed."""

    record: Column
    """Path of the record below the folder of records, without `.hea`."""
    patient: Column | None = None
    """Records with the same value are never on both sides of a split; without it, every record is
    a patient of its own."""
    age: Column | None = None
    """Years."""
    sex: Column | None = None
    """`female` or `male`, or the first letter; anything else counts as not stated."""
    fold: Column | None = None
    """Whole number, for `test_folds` of a study file."""


class Statements(_Table):
    """Where a record's findings are: in one column of codes, or in one column per finding."""

    column: Column | None = None
    """The one column with all codes of a record."""
    separator: Annotated[
        str, StringConstraints(strip_whitespace=False, min_length=1, max_length=10)
    ] = ";"
    """The text between two codes in it."""
    flags: Annotated[tuple[Column, ...], Field(max_length=1_000)] = ()
    """Columns with 1, true or yes where the record has the finding of that name, and 0, false
    or no where it has not; an empty cell is unknown and therefore refused."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if self.column is None and not self.flags:
            yield (), "give either column or flags: add one"
        if self.column is not None and self.flags:
            yield ("flags",), "give either column or flags, not both: delete one"
        for place, name in enumerate(self.flags):
            if name in self.flags[:place]:
                yield ("flags", place), f"{name!r} is there twice: delete one"


class OwnFile(_Table):
    """The description of a user's own data set."""

    name: Annotated[str, Field(pattern=OWN_NAME_FORM)]
    """Names the prepared set and its patients."""
    records: Folder
    """Folder of the WFDB records, relative to the description."""
    table: Folder
    """CSV table, relative to the description."""
    columns: Columns
    statements: Statements
    classes: dict[Code, Annotated[tuple[Code, ...], Field(min_length=1, max_length=10_000)]] = (
        Field(default_factory=dict, max_length=1_000)
    )
    """Class names, each with its codes; without this table each flag is a class."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the tables together."""
        flags = self.statements.flags
        if not self.classes and not flags:
            yield ("classes",), "the codes of statements.column need classes: add this table"
        for name, codes in self.classes.items():
            for place, code in enumerate(codes):
                if flags and code not in flags:
                    hint = did_you_mean(code, flags)
                    yield ("classes", name, place), f"{code!r} is not in statements.flags: {hint}"


@dataclass(frozen=True, slots=True)
class OwnSource:
    """Reads the data set that one description file names."""

    name: str
    description: OwnFile
    folder: Path
    """The folder of the description file."""
    sampling_rates_hz: tuple[float, ...] = ()
    version: int = 3

    def __repr__(self) -> str:
        # Part of the preparation's key, which must not depend on the place of the folder.
        return f"OwnSource({self.description!r})"

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:  # noqa: ARG002 as in `Source`
        """Return the CSV table."""
        return [self._table]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the records of the table, ordered by name.

        Args:
            folders: Folders of records instead of the one that the description names, or nothing.
        """
        roots = existing_folders(folders or [self.folder / self.description.records], self.name)
        if len(roots) > 1:
            raise DataError(f"{self.name}: one folder of records is needed, but got {len(roots)}")
        entries = [self._entry(roots[0], row) for row in self._rows()]
        found = find_files(roots, self.name, ".hea")
        named = {entry.files[0] for entry in entries}
        aside = {
            "header without a row": [
                path.relative_to(roots[0]).with_suffix("").as_posix()
                for path in found.files
                if path not in named
            ],
            "hidden file": found.hidden,
        }
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        assert entry.facts is not None
        path = entry.files[0]
        signal = read_wfdb(read_header(path), path.parent, entry.settings)
        return Reading(entry.facts, signal)

    @property
    def _table(self) -> Path:
        return self.folder / self.description.table

    def _rows(self) -> Sequence[Row]:
        columns, statements = self.description.columns, self.description.statements
        named = [columns.record, columns.patient, columns.age, columns.sex, columns.fold]
        wanted = [name for name in (*named, statements.column, *statements.flags) if name]
        return read_rows(self._table, wanted)

    def _entry(self, root: Path, row: Row) -> RecordEntry:
        columns = self.description.columns
        record = row[columns.record].strip().removesuffix(".hea")
        if not _RECORD.fullmatch(record):
            raise DataError(
                f"{self._table}: line {row.line}: {columns.record} must be a path of "
                f"letters, digits, '.', '_' and '-' below the folder of records, but is "
                f"{record[:60]!r}"
            )
        patient = row[columns.patient].strip() if columns.patient else ""
        facts = RecordFacts(
            patient=f"{self.name}-{patient or record}",
            patient_published=bool(patient),
            fold=self._fold(row),
            age_years=number_or_none(row[columns.age], 0.0, 120.0) if columns.age else None,
            sex=sex_of(row[columns.sex]) if columns.sex else None,
            statements=self._statements(row),
        )
        header = root / f"{record}.hea"
        files = (header, header.with_suffix(".dat"), header.with_suffix(".mat"))
        return RecordEntry(record=record, files=files, facts=facts)

    def _fold(self, row: Row) -> int | None:
        column = self.description.columns.fold
        if column is None or not row[column].strip():
            return None
        fold = number_or_none(row[column], 0.0, 30_000.0)
        if fold is None or not fold.is_integer():
            raise DataError(
                f"{self._table}: line {row.line}: {column} must be a whole number, "
                f"but is {row[column][:40]!r}"
            )
        return int(fold)

    def _statements(self, row: Row) -> dict[str, float]:
        statements = self.description.statements
        if statements.column is not None:
            codes = row[statements.column].split(statements.separator)
            return {code.strip(): 100.0 for code in codes if code.strip()}
        for name in statements.flags:
            if row[name].strip().lower() not in _TRUE | _FALSE:
                raise DataError(
                    f"{self._table}: line {row.line}: {name} must be 0 or 1, but is "
                    f"{row[name][:40]!r}"
                )
        found = {name: 100.0 for name in statements.flags if row[name].strip().lower() in _TRUE}
        return found or {NO_FINDING: 100.0}


def own_source(path: Path) -> OwnSource:
    """Return the reader of the data set that `path` describes.

    Raises:
        DataError: the file is missing, is not TOML, or breaks a rule; the message names the key.
    """
    description = read_toml(path, OwnFile, DataError)
    return OwnSource(description.name, description, path.parent)


def own_label_set(path: Path) -> LabelSet:
    """Return the classes that `path` describes.

    Raises:
        DataError: as `own_source`.
    """
    description = read_toml(path, OwnFile, DataError)
    classes = description.classes or {name: (name,) for name in description.statements.flags}
    members: dict[str, tuple[str, ...]] = {}
    for name, codes in classes.items():
        for code in codes:
            members[code] = (*members.get(code, ()), name)
    return LabelSet(name=description.name, classes=tuple(classes), members=members)
