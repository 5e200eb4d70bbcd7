"""Writes a first description of an own data set from what a folder holds."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecgopt.data.csv_tables import Row, TableForm, read_rows
from ecgopt.data.listing import files_below, find_files
from ecgopt.data.signals import LEADS
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError, RecordError

_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".xlsx"})
_MAX_TABLES, _MAX_HEADERS, _MAX_CLASSES = 20, 200, 30
_YES, _NO = frozenset({"1", "1.0", "true", "yes", "y"}), frozenset({"0", "0.0", "false", "no", "n"})
_MORE_YES = frozenset(("ja", "j", "oui", "o", "si", "sí", "s", "sim", "tak", "да", "是", "有"))
_MORE_YES |= {"positive", "pos", "present", "x", "+"}
_MORE_NO = frozenset(("nein", "non", "não", "nao", "nie", "nej", "нет", "否", "无"))
_MORE_NO |= {"negative", "neg", "absent"}
_UNKNOWN = frozenset(("", "na", "n/a", "nan", "null", "none", "unknown", "unclear", "?", "-", "-1"))
_UNKNOWN |= {"unbekannt", "unklar", "inconnu", "desconocido", "desconhecido", "u"}
_ROLES: Mapping[str, re.Pattern[str]] = {
    role: re.compile(form, re.IGNORECASE)
    for role, form in (
        ("patient", r"(patient|subject|person|participant|pat|pid|mrn)(_?(id|key|nr|no|number))?"),
        ("age", r"(age|alter|idade|anchor_age|patient_?age)(_?years)?"),
        ("sex", r"(sex|gender|geschlecht|sexo)"),
        ("fold", r"(strat_)?fold|split"),
    )
}
_FINDINGS = re.compile(
    r"dx|diag|icd|snomed|code|label|finding|statement|report|befund|rhythm", re.IGNORECASE
)
_BESIDES = frozenset(
    {"sampling_rate_hz", "seconds", "leads", "format", "name", "recorded", "file", "record"}
)
_ENCODINGS = (None, "cp1252")


@dataclass(frozen=True, slots=True)
class _Table:
    """A table, and the column whose cells name records."""

    path: Path
    rows: Sequence[Row]
    encoding: str | None
    record: str = ""
    n_named: int = 0
    """Records that the column names."""
    prefix: str = ""
    """Path from the folder to the one below which the column names the records."""

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0])


@dataclass(slots=True)
class _Text:
    """The description as it grows."""

    lines: list[str] = field(default_factory=list)
    n_questions: int = 0

    def add(self, *lines: str) -> None:
        self.lines += lines

    def ask(self, question: str) -> None:
        """Add a question as a comment."""
        self.n_questions += 1
        self.lines.append(f"# Question {self.n_questions}: {question}")

    def key(self, name: str, value: object) -> None:
        self.lines.append(f"{name} = {_toml(value)}")


@dataclass(frozen=True, slots=True)
class Description:
    """A first description of a folder."""

    text: str
    n_records: int
    n_questions: int


def describe(folder: Path, beside: Path) -> Description:
    """Return a description of the records and tables in `folder`.

    What cannot be known is a question in a comment; every answer that is guessed stands below one.

    Args:
        folder: Holds WFDB records and, at any depth, tables.
        beside: The folder that the description will lie in.

    Raises:
        DataError: the folder holds no WFDB record or no table that names one.
    """
    headers = find_files([folder], "describe", ".hea").files
    if not headers:
        raise DataError(
            f"{folder}: holds no WFDB record; turn other formats into WFDB by `ecgopt data import`"
        )
    tails = _tails(path.relative_to(folder).with_suffix("").as_posix() for path in headers)
    tables = [_with_records(table, tails) for table in _tables(folder)]
    first = max(tables, key=_fit, default=None)
    if first is None or not first.record:
        seen = ", ".join(table.path.name for table in tables) or "there is none"
        raise DataError(
            f"{folder}: no table names its {len(headers)} records ({seen}): put a table there with "
            "one row per record and a column of their paths"
        )
    text = _Text()
    text.add(
        f"# First description of {folder.name}: {len(headers):,} records, of which "
        f"{first.n_named:,} have a row in {first.path.name}.",
        "# Check what stands below each question, then run `ecgopt data prepare` with this file.",
        "",
    )
    text.ask("what is the name of the data set? Small letters, digits and '_'.")
    text.key("name", _name(folder))
    text.key("records", _relative(folder / first.prefix, beside))
    text.key("table", _relative(first.path, beside))
    if first.encoding:
        text.ask(f"the table is no UTF-8 text: is {first.encoding} right? Look at names in it.")
        text.key("encoding", first.encoding)
    joins = [(table, *shared) for table in tables if (shared := _shared(first, table)) is not None]
    columns = [first, *(table for table, _, _ in joins)]
    _add_columns(text, first, columns)
    _add_statements(text, columns)
    for table, key, matches in joins:
        text.add("")
        text.ask(f"do the rows of {table.path.name} belong to the records by this key?")
        text.add("[[joins]]")
        text.key("table", _relative(table.path, beside))
        text.key("key", key)
        if matches != key:
            text.key("matches", matches)
        if table.encoding:
            text.key("encoding", table.encoding)
    _add_leads(text, headers)
    return Description("\n".join(text.lines) + "\n", len(headers), text.n_questions)


def _tables(folder: Path) -> list[_Table]:
    paths = sorted(
        path
        for path in files_below(folder, "describe")
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith((".", "SHA256SUMS"))
    )
    tables = []
    for path in paths[:_MAX_TABLES]:
        for encoding in _ENCODINGS:
            try:
                rows = read_rows(path, (), form=TableForm(encoding=encoding))
            except DataError:
                continue  # A text that is no table, or a table of another encoding.
            if rows:
                tables.append(_Table(path, rows, encoding))
            break
    return tables


def _tails(records: Iterable[str]) -> dict[str, str]:
    """Return each end of a record's path that is no other's, with the rest of the path."""
    tails: dict[str, str] = {}
    twice: set[str] = set()
    for record in records:
        parts = record.split("/")
        for place in range(len(parts)):
            tail = "/".join(parts[place:])
            if tail in tails:
                twice.add(tail)
            tails[tail] = "/".join(parts[:place])
    return {tail: prefix for tail, prefix in tails.items() if tail not in twice}


def _with_records(table: _Table, tails: Mapping[str, str]) -> _Table:
    """Return the table with the column that names the most records."""
    best = table
    for column in table.columns:
        cells = {row[column].strip().removesuffix(".hea") for row in table.rows}
        prefixes = Counter(tails[cell] for cell in cells if cell in tails)
        for prefix, count in prefixes.most_common(1):
            if count > best.n_named and len(cells) == len(table.rows):
                best = replace(table, record=column, n_named=count, prefix=prefix)
    return best


def _fit(table: _Table) -> tuple[int, int]:
    """Rank tables: most records, then most columns that may be findings."""
    return table.n_named, len(_flags(table)) + len(_codes(table))


def _shared(first: _Table, other: _Table) -> tuple[str, str] | None:
    """Return the key of another table and the column of the first that has its values."""
    if other.path == first.path:
        return None
    best: tuple[float, str, str] = (0.5, "", "")
    for key in other.columns:
        values = [row[key].strip() for row in other.rows]
        if len({*values}) < len(values):
            continue
        known = {*values}
        for matches in first.columns:
            share = sum(row[matches].strip() in known for row in first.rows) / len(first.rows)
            best = max(best, (share + (0.01 if key == matches else 0.0), key, matches))
    return (best[1], best[2]) if best[1] else None


def _add_columns(text: _Text, first: _Table, tables: Sequence[_Table]) -> None:
    text.add("", "[columns]")
    text.key("record", first.record)
    names = [name for table in tables for name in table.columns]
    for role, form in _ROLES.items():
        found = [name for name in names if form.fullmatch(name.strip())]
        if found:
            if role == "patient" or len({*found}) > 1:
                text.ask(f"is this the column of the {role}? Candidates: {', '.join(found)}")
            if role == "fold" and not _all_numbers(found[0], tables):
                text.add(f"# {found[0]} holds no whole numbers, which folds must be.")
                continue
            text.key(role, found[0])
        elif role == "patient":
            text.ask(
                "which column names the patient? Without one, each record counts as a patient,"
            )
            text.add("# and results look better than they are.", '# patient = "..."')


def _add_statements(text: _Text, tables: Sequence[_Table]) -> None:
    text.add("", "[statements]")
    flags = {name: words for table in tables for name, words in _flags(table).items()}
    codes = {name: table for table in tables for name in _codes(table)}
    if flags:
        text.ask("which of these columns are findings that the network is to learn?")
        text.key("flags", list(flags))
        words = {word for words in flags.values() for word in words}
        if words & (_MORE_YES | _MORE_NO):
            text.ask("do these words mean yes and no?")
            text.key("yes", sorted(words & _MORE_YES))
            text.key("no", sorted(words & _MORE_NO))
        unknown = sorted(words & _UNKNOWN)
        if unknown:
            text.ask(
                "do these cells mean that the finding was not judged? Their records are left out."
            )
            text.key("unknown", unknown)
        if codes:
            text.add(f"# Columns of codes, to be used instead: {', '.join(codes)}")
        return
    if codes:
        name, table = next(iter(codes.items()))
        cells = [row[name] for row in table.rows]
        separator = max(";|,", key=lambda mark: sum(cell.count(mark) for cell in cells))
        text.ask(f"do the findings stand here? Candidates: {', '.join(codes)}")
        text.key("column", name)
        text.key("separator", separator)
        n_empty = sum(not cell.strip() for cell in cells)
        if n_empty:
            text.ask(
                f"{n_empty:,} rows have no code. Was nothing found? Then say so; otherwise their"
            )
            text.add("# records are left out, because unknown is not negative.", '# no = [""]')
        counts = Counter(
            code.strip() for cell in cells for code in cell.split(separator) if code.strip()
        )
        text.add("")
        text.ask("which codes make a class? Give each class all its codes; `*` is any text.")
        text.add("[classes]")
        for code, count in counts.most_common(_MAX_CLASSES):
            text.add(f"{_toml(code)} = [{_toml(code)}]  # {count:,} records")
        return
    text.ask("where are the findings? No table has columns of 0 and 1, or of codes: add one to the")
    text.add("# table, or join another table by [[joins]].", 'flags = ["FINDING"]')


def _add_leads(text: _Text, headers: Sequence[Path]) -> None:
    step = max(1, len(headers) // _MAX_HEADERS)
    other: Counter[str] = Counter()
    rates: Counter[float] = Counter()
    incomplete = damaged = 0
    for path in headers[::step]:
        try:
            header = read_header(path)
        except RecordError:
            damaged += 1
            continue
        rates[header.sampling_rate_hz] += 1
        names = {signal.lead for signal in header.signals}
        if {"I", "II", *LEADS[6:]} - names:
            incomplete += 1
            other.update(names - set(LEADS))
    text.add("", f"# Sampling rates seen: {', '.join(f'{rate:g} Hz' for rate in rates) or 'none'}.")
    if damaged:
        text.add(f"# {damaged} of the {len(headers[::step])} headers looked at are damaged.")
    if incomplete:
        text.ask(
            f"{incomplete} of the {len(headers[::step])} headers looked at lack leads. Which of "
            "their names mean a lead?"
        )
        text.add("[leads]")
        text.add(*(f'# {_toml(name)} = "I"' for name, _ in other.most_common(20)))


def _flags(table: _Table) -> dict[str, set[str]]:
    """Return the columns of yes and no, each with its words in small letters."""
    found = {}
    for name in table.columns:
        if name in _BESIDES or any(form.fullmatch(name) for form in _ROLES.values()):
            continue
        words = {row[name].strip().lower() for row in table.rows}
        means_yes, means_no = words & (_YES | _MORE_YES), words & (_NO | _MORE_NO)
        # `x`, `+` or `ja` alone may mean anything: a column needs a word of no too, or 1 or yes.
        if means_yes and (means_no or words & _YES) and words <= means_yes | means_no | _UNKNOWN:
            found[name] = words
    return found


def _codes(table: _Table) -> list[str]:
    """Return the columns that may hold codes."""
    flags = _flags(table)
    return [
        name
        for name in table.columns
        if _FINDINGS.search(name)
        and name not in flags
        and name not in _BESIDES
        and name != table.record
        and any(row[name].strip() for row in table.rows)
    ]


def _all_numbers(column: str, tables: Sequence[_Table]) -> bool:
    cells = [row[column].strip() for table in tables for row in table.rows if column in row]
    return all(re.fullmatch(r"\d+(\.0)?|", cell) for cell in cells)


def _name(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9_]+", "_", folder.resolve().name.lower()).strip("_")[:32]
    return name if re.match(r"[a-z]", name) else f"clinic_{name}"[:32].rstrip("_")


def _relative(path: Path, beside: Path) -> str:
    return Path(os.path.relpath(path.resolve(), beside.resolve())).as_posix()


def _toml(value: object) -> str:
    """Return text or a list of texts as TOML, whose quoted text is that of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
