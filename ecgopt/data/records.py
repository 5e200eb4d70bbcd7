"""A record of a data set: what its tables and headers say, and the files it is made of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from ecgopt.data.signals import PrepareSettings, RawSignal
from ecgopt.errors import RecordError

if TYPE_CHECKING:
    from ecgopt.data.listing import Listing

Sex = Literal["female", "male"]


NO_FINDING = "no finding"
"""Statement of a record that has none of the findings it was examined for; a record without any
statement is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts:
    """What is known of a record besides its signal."""

    patient: str
    """Equal for all records of one person, over all data sets; see `patient_published`."""
    patient_published: bool = True
    """False where the data set names no patients, so that each record counts as one."""
    fold: int | None = None
    """Fold of the data set's own recommended split."""
    age_years: float | None = None
    sex: Sex | None = None
    statements: Mapping[str, float]
    """Statement code to likelihood in percent; 100 where the data set states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEntry:
    """One record before its signal is read."""

    record: str
    files: tuple[Path, ...]
    """Every file the record is read from; the first is the one a message names."""
    facts: RecordFacts | None = None
    """None where they are in the record's own header."""
    left_out: str = ""
    """Why the record is not read although its files are there, else empty."""
    settings: PrepareSettings | None = None
    """How the record will be stored; a reader may leave out samples that this does not need."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One record as read."""

    facts: RecordFacts
    signal: RawSignal
    corrections: tuple[str, ...] = ()
    """Names of the publisher's known errors that the reader has set right."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a sound record is not part of the prepared set."""

    reason: str


@runtime_checkable
class Source(Protocol):
    """A kind of data set: how its records are listed and read. Must survive pickling."""

    @property
    def name(self) -> str:
        """Name in `ecgopt data list` and in study files."""
        ...

    @property
    def version(self) -> int:
        """Rises whenever the reader gives other values for the same files."""
        ...

    @property
    def sampling_rates_hz(self) -> tuple[float, ...]:
        """The rates its records can have; a record of another rate is left out. Empty: any."""
        ...

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return the files besides the records' own that its facts come from."""
        ...

    def entries(self, folders: Sequence[Path]) -> "Listing":
        """Return all records in `folders` in a stable order, each once.

        Raises:
            DataError: a folder or table is missing or unreadable, or holds no record.
        """
        ...

    def read(self, entry: RecordEntry) -> Reading | LeftOut:
        """Return the signal and facts of one record, or why it cannot be used.

        Raises:
            RecordError: the record is damaged.
        """
        ...


_SEX: Mapping[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}


def sex_of(text: str) -> Sex | None:
    """Return the sex that `text` states, None where it states none."""
    return _SEX.get(text.strip().lower())


_AGE = re.compile(
    r"(?P<more>[>≥]=?)?\s*(?P<number>\d{1,3}(?:[.,]\d+)?)\s*(?P<plus>\+)?"
    r"\s*(?P<unit>(?:y|m|w|d)[a-z]*)?\.?",
    re.IGNORECASE,
)
_PER_YEAR: Mapping[str, float] = {
    **dict.fromkeys(("", "y", "yr", "yrs", "year", "years", "yo"), 1.0),
    **dict.fromkeys(("m", "mo", "mos", "month", "months"), 12.0),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 365.25 / 7),
    **dict.fromkeys(("d", "day", "days"), 365.25),
}
_OLDEST_STATED, _OLDER = 89.0, 90.0
_OLDER_IN_PTBXL = 300.0


def age_of(text: str) -> float | None:
    """Return the age in years that `text` states, None where it states none.

    Known are `51,5`, `056Y`, `18 months`, `>89`, `90+`, and PTB-XL's 300 for all above 89; an age
    above 89 that is not stated counts as 90.
    """
    match = _AGE.fullmatch(text.strip())
    unit = "" if match is None else (match["unit"] or "").lower()
    if match is None or unit not in _PER_YEAR:
        return None
    years = float(match["number"].replace(",", ".")) / _PER_YEAR[unit]
    if match["more"] or match["plus"]:
        # Beyond an age that rules of privacy do not name, the age is anyone's guess.
        return _OLDER if years >= _OLDEST_STATED else None
    if years == _OLDER_IN_PTBXL:
        return _OLDER
    return years if years <= 120.0 else None


def number_or_none(text: str, low: float, high: float) -> float | None:
    """Return the number in `text`, None where it is none or lies outside `low` to `high`."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if low <= number <= high else None


def file_bytes(path: Path, max_bytes: int) -> bytes:
    """Return the content of a record's file, of which at most `max_bytes` are read into memory.

    Raises:
        RecordError: the file cannot be read or is larger.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        reason = f"its file cannot be read: {error.strerror or error}"
        raise RecordError(path.stem, reason, str(path)) from error
    if len(data) > max_bytes:
        raise RecordError(path.stem, f"it is larger than {max_bytes >> 20} MiB", path.name)
    return data
