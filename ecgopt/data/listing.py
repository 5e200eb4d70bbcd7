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


def listing(
    entries: Sequence[RecordEntry], source: str, *, aside: Aside | None = None, layout: str = ""
) -> Listing:
    """Return `entries` in the order of their names, with what was left aside.

    Args:
        entries: The records.
        source: Name of the data set, for messages.
        aside: Files and table rows that give no record, by reason.
        layout: What the data set's folders hold, for the message where they do not.

    Raises:
        DataError: there is no entry, or two have the same name.
    """
    left = {reason: sorted(names) for reason, names in (aside or {}).items() if names}
    if not entries:
        seen = "; ".join(f"{reason}: {first_few(names)}" for reason, names in left.items())
        raise DataError(
            f"{source}: the folders hold no record of this data set{f' ({seen})' if seen else ''}; "
            f"check the path{f': {layout}' if layout else ''}"
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
        except NotADirectoryError as error:
            raise DataError(
                f"{source}: {folder} is no folder: unpack it, by `ecgopt data fetch {source} "
                f"--from {folder}` if it is the publisher's zip file"
            ) from error
        except OSError as error:
            raise DataError(f"{source}: folder {folder}: {error.strerror}") from error
    return folders


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files below some folders, linked folders included."""

    files: tuple[Path, ...]
    aside: Aside
    """Hidden files, such as the `._A0001.hea` of a Mac, and zip files: neither is read."""


def find_files(folders: Sequence[Path], source: str, suffix: str) -> FoundFiles:
    """Return all files below `folders` that end in `suffix`, in capitals or not.

    Raises:
        DataError: a folder at any depth cannot be read.
    """
    files: list[Path] = []
    aside: dict[str, list[str]] = {"hidden file": [], "zip file, not unpacked": []}
    for folder in existing_folders(folders, source):
        for where, names in _walk(folder, source):
            inner = Path(where).relative_to(folder)
            is_hidden = any(part.startswith(".") for part in inner.parts)
            # Only wanted files become paths: there may be hundreds of thousands of others.
            for name in names:
                ending = name[-len(suffix) :].lower()
                if ending == suffix and (is_hidden or name.startswith(".")):
                    aside["hidden file"].append((inner / name).as_posix())
                elif ending == suffix:
                    files.append(Path(where, name))
                elif name[-4:].lower() == ".zip":
                    aside["zip file, not unpacked"].append(name)
    return FoundFiles(tuple(files), aside)


def files_below(folder: Path, source: str) -> Iterator[Path]:
    """Yield all files below a folder, linked folders included.

    Raises:
        DataError: a folder at any depth cannot be read.
    """
    for where, names in _walk(folder, source):
        yield from (Path(where, name) for name in names)


def _walk(folder: Path, source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below a folder with the names of its files."""

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
        yield where, names


def published_headers(folders: Sequence[Path]) -> frozenset[str]:
    """Return the stems of the headers that a fetched list of checksums names, if one is there."""
    stems: set[str] = set()
    for path in (folder / "SHA256SUMS.txt" for folder in folders):
        try:
            stems |= {Path(name).stem for name in read_checksums(path, r".*\.hea")}
        except (OSError, DataError) as error:
            logger.info("no list of the publisher's headers: %s", error)
    return frozenset(stems)
