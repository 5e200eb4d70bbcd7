"""A user's own data: a folder of WFDB records and tables, described in one TOML file."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from ecgopt.data.csv_tables import Row, TableForm, read_rows
from ecgopt.data.label_classes import LabelSet
from ecgopt.data.listing import Listing, existing_folders, find_files, listing
from ecgopt.data.records import (
    NO_FINDING,
    Reading,
    RecordEntry,
    RecordFacts,
    Sex,
    age_of,
    number_or_none,
    sex_of,
)
from ecgopt.data.signals import LEADS
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError, did_you_mean
from ecgopt.toml_errors import OWN_NAME_FORM, BrokenRule, TomlTable, read_toml

_RECORD = re.compile(r"(?:[\w-][\w. -]*/){0,8}[\w-][\w. -]*")
_ENDINGS = (".hea", ".dat", ".mat")
_WHOLE = re.compile(r"(\d+)\.0+")
_TRUE, _FALSE = ("1", "1.0", "true", "yes", "y"), ("0", "0.0", "false", "no", "n")
_NOT_NAMED = frozenset({"", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"})

Column = Annotated[str, Field(min_length=1, max_length=200)]
Folder = Annotated[str, Field(min_length=1, max_length=1_000)]
Code = Annotated[str, Field(min_length=1, max_length=200)]
Word = Annotated[str, Field(max_length=200)]
Words = Annotated[tuple[Word, ...], Field(max_length=100)]


class _Table(TomlTable):
    model_config = ConfigDict(str_strip_whitespace=True)


class _File(_Table):
    table: Folder
    """CSV, Parquet (`.parquet`) or Excel (`.xlsx`) file, relative to the description."""
    delimiter: (
        Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, max_length=1)] | None
    ) = None
    """What divides the cells of a CSV file; without it, the comma, semicolon, tabulator or bar
    under which the columns are found."""
    encoding: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    """Encoding of a CSV file, such as `cp1252` or `latin-1`; without it UTF-8, or UTF-16 with its
    mark."""
    sheet: Column | None = None
    """Sheet of an Excel file; without it the first."""

    @property
    def form(self) -> TableForm:
        """How the file is written."""
        return TableForm(delimiter=self.delimiter, encoding=self.encoding, sheet=self.sheet)


class Join(_File):
    """A further table whose columns are joined to the first by a key."""

    key: Column
    """Column of this table whose values occur once."""
    matches: Column | None = None
    """Column of the first table with the same values; without it, the one of the same name."""


class Columns(_Table):
    """Names of the tables' columns; only `record` is needed.

    Where the first table and a joined one have a column of the same name, that of the first counts.
    """

    record: Column
    """Path of the record below the folder of records, with or without `.hea`, `.dat` or `.mat`."""
    patient: Column | None = None
    """Records with the same value are never on both sides of a split; without it, and where it is
    empty or `unknown`, every record is a patient of its own."""
    age: Column | None = None
    """Years; `056Y`, `18 months`, `>89`, `90+`, `51,5` are understood too; others are counted."""
    sex: Column | None = None
    """`female` or `male`, or the first letter; other words are not stated, and counted."""
    female: Words = ()
    """Further texts in `sex` that mean female."""
    male: Words = ()
    """Further texts in `sex` that mean male."""
    fold: Column | None = None
    """Whole number, for `test_folds` of a study file."""


class Statements(_Table):
    """Where a record's findings are: in columns of codes, or in one column per finding."""

    column: Column | None = None
    """The column with all codes of a record; `*` stands for any text, so that `report_*` are all
    columns whose names begin so."""
    separator: Annotated[
        str, StringConstraints(strip_whitespace=False, min_length=1, max_length=10)
    ] = ";"
    """The text between two codes in it. A record without any code is left out and counted, because
    unknown is not negative, unless the empty cell is in `no`."""
    flags: Annotated[tuple[Column, ...], Field(max_length=1_000)] = ()
    """Columns with 1, true, yes or y where the record has the finding of that name, and 0, false,
    no or n where it has not."""
    yes: Words = ()
    """Further texts in `flags` that mean yes."""
    no: Words = ()
    """Further texts in `flags` that mean no; in a column of codes, those that mean no finding."""
    unknown: Words = ()
    """Texts that mean that no one has judged the finding, such as `""` for an empty cell. A record
    with one of them is left out and counted, because unknown is not negative. An empty flag that is
    not named here is an error."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if self.column is None and not self.flags:
            yield (), "give either column or flags: add one"
        if self.column is not None and self.flags:
            yield ("flags",), "give either column or flags, not both: delete one"
        for place, name in enumerate(self.flags):
            if name in self.flags[:place]:
                yield ("flags", place), f"{name!r} is there twice: delete one"
        words = [*_lower(self.yes), *_lower(self.no), *_lower(self.unknown)]
        for place, word in enumerate(words):
            if word in words[:place]:
                yield (), f"{word!r} is in several of yes, no and unknown, or twice: delete one"


class OwnFile(_File):
    """The description of a user's own data set."""

    name: Annotated[str, Field(pattern=OWN_NAME_FORM)]
    """Names the prepared set and its patients."""
    records: Folder
    """Folder of the WFDB records, relative to the description."""
    columns: Columns
    statements: Statements
    joins: Annotated[tuple[Join, ...], Field(max_length=20)] = ()
    """Further tables."""
    leads: dict[Column, Annotated[str, Field(max_length=20)]] = Field(
        default_factory=dict, max_length=100
    )
    """Names of leads in the files to I, II, III, aVR, aVL, aVF, V1 to V6. Usual spellings such as
    `ECG I`, `Lead I`, `DI` or `MDC_ECG_LEAD_I` are known."""
    classes: dict[Code, Annotated[tuple[Code, ...], Field(min_length=1, max_length=10_000)]] = (
        Field(default_factory=dict, max_length=1_000)
    )
    """Class names, each with its codes; without this table each flag is a class. In a code `*`
    stands for any text: `Atrial fibrillation*`."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the tables together."""
        flags = self.statements.flags
        for name, lead in self.leads.items():
            if lead not in LEADS:
                yield ("leads", name), f"{lead!r} is no lead: {did_you_mean(lead, LEADS)}"
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
    version: int = 5

    def __repr__(self) -> str:
        # Part of the preparation's key, which must not depend on the place of the folder.
        return f"OwnSource({self.description!r})"

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:  # noqa: ARG002 as in `Source`
        """Return the table and those joined to it."""
        return [self._table, *(self.folder / join.table for join in self.description.joins)]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the records of the table, ordered by name.

        Args:
            folders: Folders of records instead of the one that the description names, or nothing.
        """
        roots = existing_folders(folders or [self.folder / self.description.records], self.name)
        if len(roots) > 1:
            raise DataError(f"{self.name}: one folder of records is needed, but got {len(roots)}")
        rows, aside = joined_rows(self.description, self.folder)
        judge = _Judge(self.description, self._table)
        found = find_files(roots, self.name, ".hea")
        headers = {path.with_suffix(""): path for path in found.files}
        entries = [self._entry(roots[0], row, judge, headers) for row in rows]
        aside |= judge.not_understood
        named = {entry.files[0] for entry in entries}
        aside["header without a row"] = [
            path.relative_to(roots[0]).with_suffix("").as_posix()
            for path in found.files
            if path not in named
        ]
        aside["hidden file"] = found.hidden
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        assert entry.facts is not None
        path = entry.files[0]
        header = read_header(path)
        if self.description.leads:
            named = (
                replace(each, lead=self.description.leads.get(each.lead, each.lead))
                for each in header.signals
            )
            header = replace(header, signals=tuple(named))
        return Reading(entry.facts, read_wfdb(header, path.parent, entry.settings))

    @property
    def _table(self) -> Path:
        return self.folder / self.description.table

    def _entry(
        self, root: Path, row: Row, judge: "_Judge", headers: Mapping[Path, Path]
    ) -> RecordEntry:
        columns = self.description.columns
        record = _record_name(row[columns.record])
        if not _RECORD.fullmatch(record):
            raise DataError(
                f"{self._table}: line {row.line}: {columns.record} must be a path of "
                f"letters, digits, blanks, '.', '_' and '-' below the folder of records, but is "
                f"{record[:60]!r}"
            )
        patient = _key(row[columns.patient]) if columns.patient else ""
        is_named = patient.lower() not in _NOT_NAMED
        statements, left_out = judge.statements(row)
        facts = RecordFacts(
            patient=f"{self.name}-{patient if is_named else record}",
            patient_published=is_named,
            fold=self._fold(row),
            age_years=judge.age(row, record),
            sex=judge.sex(row, record),
            statements=statements,
        )
        header = headers.get(root / record, root / f"{record}.hea")
        files = (header, header.with_suffix(".dat"), header.with_suffix(".mat"))
        return RecordEntry(record=record, files=files, facts=facts, left_out=left_out)

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


class _Judge:
    """What the cells of a description's tables mean."""

    def __init__(self, description: OwnFile, table: Path) -> None:
        self._table, self._columns = table, description.columns
        self._statements = description.statements
        given = description.statements
        self._yes = {*_TRUE, *_lower(given.yes)} - {*_lower(given.no), *_lower(given.unknown)}
        self._no = {*_FALSE, *_lower(given.no)} - {*_lower(given.yes), *_lower(given.unknown)}
        self._unknown = {*_lower(given.unknown)}
        self._no_code = {*_lower(given.no)} - self._unknown
        self._sexes = dict.fromkeys(_lower(description.columns.female), "female")
        self._sexes |= dict.fromkeys(_lower(description.columns.male), "male")
        self._patterns = {
            code: _pattern(code)
            for codes in description.classes.values()
            for code in codes
            if "*" in code
        }
        self._known: dict[str, tuple[str, ...]] = {}
        self.not_understood: dict[str, list[str]] = defaultdict(list)
        """What is unknown because a cell is not understood, to records and their cells."""

    def age(self, row: Row, record: str) -> float | None:
        """Return the age that a row states."""
        stated = row[self._columns.age] if self._columns.age else ""
        found = age_of(stated)
        if found is None and stated.strip().lower() not in _NOT_NAMED:
            self.not_understood["age not understood, so unknown"].append(f"{record} {stated!r}")
        return found

    def sex(self, row: Row, record: str) -> Sex | None:
        """Return the sex that a row states."""
        stated = row[self._columns.sex] if self._columns.sex else ""
        found = sex_of(self._sexes.get(stated.strip().lower(), stated))
        if found is None and stated.strip().lower() not in _NOT_NAMED:
            reason = "sex not understood, so unknown (name it in female or male of [columns])"
            self.not_understood[reason].append(f"{record} {stated!r}")
        return found

    def statements(self, row: Row) -> tuple[dict[str, float], str]:
        """Return what a row states, and why its record is left out, if it is."""
        if row.missing_from:
            return {}, f"no row in {row.missing_from}"
        if self._statements.column is not None:
            return self._codes(row)
        found: dict[str, float] = {}
        for name in self._statements.flags:
            cell = row[name].strip().lower()
            if cell in self._unknown:
                return {}, "a flag is unknown"
            if cell not in self._yes | self._no:
                raise DataError(
                    f"{self._table}: line {row.line}: {name} must be 0 or 1, but is "
                    f"{row[name][:40]!r}; name other words in yes, no or unknown of [statements]"
                )
            if cell in self._yes:
                found[name] = 100.0
        return found or {NO_FINDING: 100.0}, ""

    def _codes(self, row: Row) -> tuple[dict[str, float], str]:
        assert self._statements.column is not None
        pattern = _pattern(self._statements.column)
        cells = [row[name] for name in row if pattern.fullmatch(name)]
        codes = [code.strip() for cell in cells for code in cell.split(self._statements.separator)]
        given = [code for code in codes if code] or [""]
        if any(code.lower() in self._unknown for code in given):
            return {}, "the findings are unknown"
        stated = [code for code in given if code.lower() not in self._no_code]
        if not stated:
            return {NO_FINDING: 100.0}, ""
        if all(code.lower() in _NOT_NAMED for code in stated):
            return {}, "no finding is stated (name such cells in no or unknown of [statements])"
        return {name: 100.0 for code in stated for name in self._names(code)}, ""

    def _names(self, code: str) -> tuple[str, ...]:
        """Return the codes of [classes] with `*` that fit a code, else the code itself."""
        if code not in self._known:
            fitting = [name for name, form in self._patterns.items() if form.fullmatch(code)]
            self._known[code] = tuple(fitting) or (code,)
        return self._known[code]


def _lower(words: Sequence[str]) -> list[str]:
    return [word.lower() for word in words]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def _record_name(cell: str) -> str:
    """Return the path of a record, whose cell may be that of its file, on Windows too."""
    record = cell.strip().replace("\\", "/").removeprefix("./")
    ending = next((each for each in _ENDINGS if record.lower().endswith(each)), "")
    return record[: len(record) - len(ending)]


def _key(cell: str) -> str:
    """Return a patient or key; a whole number may be written with a fraction of 0."""
    text = cell.strip()
    whole = _WHOLE.fullmatch(text)
    return text if whole is None else whole[1]


def joined_rows(description: OwnFile, folder: Path) -> tuple[list[Row], dict[str, Sequence[str]]]:
    """Return the rows of the first table with the columns of the others, and what has no partner.

    A row that lacks a partner in another table notes so in `Row.missing_from`.

    Raises:
        DataError: a table is missing or damaged, a key occurs twice in a joined table, or a column
            is in none of the tables.
    """
    columns, statements = description.columns, description.statements
    named = [columns.record, columns.patient, columns.age, columns.sex, columns.fold]
    wanted = [name for name in (*named, *statements.flags) if name]
    pattern = _pattern(statements.column or "")

    def keep(name: str) -> bool:
        return name in wanted or pattern.fullmatch(name) is not None

    table = folder / description.table
    keys = [join.matches or join.key for join in description.joins]
    needed = [columns.record, *keys] if keys else wanted
    rows = list(read_rows(table, needed, keep=keep, form=description.form))
    aside: dict[str, Sequence[str]] = {}
    for join, key in zip(description.joins, keys, strict=True):
        aside[f"row of {join.table} without a record"] = _join(rows, join, key, folder, keep)
    known = list(rows[0]) if rows else []
    if rows and statements.column and not any(map(pattern.fullmatch, known)):
        wanted.append(statements.column)
    for name in wanted:
        if rows and name not in known:
            raise DataError(
                f"{table}: column {name!r} is missing, here and in the joined tables: "
                f"{did_you_mean(name, known)}"
            )
    return rows, aside


def _join(
    rows: Sequence[Row], join: Join, key: str, folder: Path, keep: Callable[[str], bool]
) -> list[str]:
    """Add the columns of a further table to `rows`; return the keys of rows without a partner."""
    path = folder / join.table
    partners: dict[str, Row] = {}
    without_key: list[str] = []
    for row in read_rows(path, [join.key], keep=keep, form=join.form):
        value = _key(row[join.key])
        if not value:
            without_key.append(f"line {row.line}, without a key")
        elif partners.setdefault(value, row) is not row:
            raise DataError(
                f"{path}: line {row.line}: {join.key} {value[:40]!r} occurs twice; keep one"
            )
    blank = dict.fromkeys(next(iter(partners.values()), {}), "")
    used: set[str] = set()
    for row in rows:
        value = _key(row[key])
        partner = partners.get(value)
        row.missing_from = row.missing_from or ("" if partner else join.table)
        used.add(value)
        for name, cell in (partner or blank).items():
            row.setdefault(name, cell)
    return [*(value for value in partners if value not in used), *without_key]


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
