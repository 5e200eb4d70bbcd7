"""A record of a data set: what its tables and headers say, and the files it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from ecgopt.data.signals import RawSignal
from ecgopt.errors import DataError

Sex = Literal["female", "male"]


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
    """None where they stand in the record's own header."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One record as read."""

    facts: RecordFacts
    signal: RawSignal
    correction: str = ""
    """What the reader set right because the publisher is known to have erred, else empty."""


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

    def entries(self, folders: Sequence[Path]) -> Sequence[RecordEntry]:
        """Return all records in `folders` in a stable order, each once.

        Raises:
            DataError: a folder or table is missing or unreadable, or holds no record.
        """
        ...

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record.

        Raises:
            RecordError: the record is damaged.
        """
        ...


_SEX: Mapping[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}


def sex_of(text: str) -> Sex | None:
    """Return the sex that `text` states, None where it states none."""
    return _SEX.get(text.strip().lower())


def number_or_none(text: str, low: float, high: float) -> float | None:
    """Return the number in `text`, None where it is none or lies outside `low` to `high`."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if low <= number <= high else None


def unique_entries(entries: Sequence[RecordEntry], source: str) -> Sequence[RecordEntry]:
    """Return `entries` unchanged.

    Raises:
        DataError: there are none, or two have the same record name.
    """
    if not entries:
        raise DataError(f"{source}: the folders hold no record of this data set; check the path")
    first: dict[str, RecordEntry] = {}
    for entry in entries:
        twin = first.setdefault(entry.record, entry)
        if twin is not entry:
            raise DataError(
                f"{source}: record {entry.record} occurs twice, as {twin.files[0]} and "
                f"{entry.files[0]}; give folders whose records differ"
            )
    return entries


def existing_folders(folders: Sequence[Path], source: str) -> Sequence[Path]:
    """Return `folders` unchanged.

    Raises:
        DataError: there is none, or one is missing, unreadable or no folder.
    """
    if not folders:
        raise DataError(f"{source}: at least one folder must be given")
    for folder in folders:
        try:
            next(iter(folder.iterdir()), None)
        except OSError as error:
            raise DataError(f"{source}: folder {folder}: {error.strerror}") from error
    return folders
