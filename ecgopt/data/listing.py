"""Lists the records of a data set: each once, with the files and rows that give none."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from ecgopt.data.checksums import read_checksums
from ecgopt.data.records import RecordEntry
from ecgopt.errors import DataError

logger = logging.getLogger(__name__)

Aside = Mapping[str, Sequence[str]]
"""Why something is not read, to the names of what it concerns."""


@dataclass(frozen=True, slots=True)
class Listing(Sequence[RecordEntry]):
    """The records of a data set in a stable order."""

    entries: tuple[RecordEntry, ...]
    aside: Aside = field(default_factory=dict)
    """Files and table rows that give no record, by reason."""

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> RecordEntry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RecordEntry, ...]: ...
    def __getitem__(self, index: int | slice) -> RecordEntry | tuple[RecordEntry, ...]:
        return self.entries[index]


def listing(entries: Sequence[RecordEntry], source: str, *, aside: Aside | None = None) -> Listing:
    """Return `entries` in the order of their names, with what was left aside.

    Raises:
        DataError: there is no entry, or two have the same name.
    """
    left = {reason: sorted(names) for reason, names in (aside or {}).items() if names}
    if not entries:
        seen = "; ".join(f"{reason}: {first_few(names)}" for reason, names in left.items())
        raise DataError(
            f"{source}: the folders hold no record of this data set{f' ({seen})' if seen else ''}; "
            "check the path"
        )
    _refuse_twins(entries, source)
    return Listing(tuple(sorted(entries, key=lambda entry: entry.record)), left)


def _refuse_twins(entries: Sequence[RecordEntry], source: str) -> None:
    first: dict[str, RecordEntry] = {}
    in_table: dict[str, None] = {}
    in_folders: dict[str, RecordEntry] = {}
    for entry in entries:
        twin = first.setdefault(entry.record, entry)
        if twin is entry:
            continue
        if twin.files[:1] == entry.files[:1]:
            in_table[entry.record] = None
        else:
            in_folders[entry.record] = entry
    if in_table:
        raise DataError(
            f"{source}: the table has several rows of {len(in_table)} records "
            f"({first_few(list(in_table))}); keep one of each"
        )
    if in_folders:
        name, entry = next(iter(in_folders.items()))
        raise DataError(
            f"{source}: {len(in_folders)} records occur twice ({first_few(list(in_folders))}), as "
            f"{first[name].files[0]} and {entry.files[0]}; give folders whose records differ"
        )


def first_few(names: Sequence[str]) -> str:
    """Return the first names and the number of the others."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


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


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files below some folders, linked folders included."""

    files: tuple[Path, ...]
    hidden: tuple[str, ...]
    """Names that begin with a dot, such as the `._A0001.hea` of a Mac: never read."""


def find_files(folders: Sequence[Path], source: str, suffix: str) -> FoundFiles:
    """Return all files below `folders` that end in `suffix`, in capitals or not.

    Raises:
        DataError: a folder at any depth cannot be read.
    """
    files: list[Path] = []
    hidden: list[str] = []
    for folder in existing_folders(folders, source):
        for path in files_below(folder, source):
            if path.suffix.lower() == suffix:
                inner = path.relative_to(folder).parts
                if any(part.startswith(".") for part in inner):
                    hidden.append("/".join(inner))
                else:
                    files.append(path)
    return FoundFiles(tuple(files), tuple(hidden))


def files_below(folder: Path, source: str) -> Iterator[Path]:
    """Yield all files below a folder, linked folders included.

    Raises:
        DataError: a folder at any depth cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{source}: folder {error.filename}: {error.strerror}") from error

    # A link may lead to a folder above it or to one that is walked anyway: each counts once.
    walked: set[tuple[int, int]] = set()
    for where, inner, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in walked:
            inner.clear()
            continue
        walked.add((status.st_dev, status.st_ino))
        yield from (Path(where, name) for name in names)


def published_headers(folders: Sequence[Path]) -> frozenset[str]:
    """Return the stems of the headers that a fetched list of checksums names, if one is there."""
    stems: set[str] = set()
    for path in (folder / "SHA256SUMS.txt" for folder in folders):
        try:
            stems |= {Path(name).stem for name in read_checksums(path, r".*\.hea")}
        except (OSError, DataError) as error:
            logger.info("no list of the publisher's headers: %s", error)
    return frozenset(stems)
