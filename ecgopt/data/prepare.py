"""Preparation: every record of a data set read once, conditioned, and stored for fast opening."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from ecgopt.data.conditioning import PrepareSettings
from ecgopt.data.listing import Listing, first_few
from ecgopt.data.outcomes import Dropped, outcome, outcomes
from ecgopt.data.prepared import PreparedSet, open_prepared
from ecgopt.data.prepared_writer import PreparedWriter
from ecgopt.data.records import RecordEntry, Source
from ecgopt.data.sources.catalog import published_records, source
from ecgopt.errors import DataError

__all__ = ["PrepareSettings", "PreparedSet", "open_prepared", "prepare", "prepare_source"]

_VERSION = 5
"""Rises whenever the same input would be stored otherwise."""

_ABANDONED_AFTER_S = 7 * 86_400.0

_HASHED_WHOLE_BYTES = 1 << 16
_LOCK = "lock"

logger = logging.getLogger(__name__)


def prepare(
    source_name: str,
    folders: Sequence[Path],
    destination: Path,
    settings: PrepareSettings,
    *,
    n_processes: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> PreparedSet:
    """Return the prepared form of a data set, made now or opened if it exists.

    Args:
        source_name: Name of the data set in the catalog.
        folders: Where its files lie; together they are one set.
        destination: Folder that gets the prepared set as `<source>-<fingerprint>`.
        settings: Rate, length, and what happens to records that do not fit.
        n_processes: Processes that read and resample.
        on_progress: Called with the records done and their total.

    Raises:
        UserError: the data set is not known.
        DataError: a folder or table is missing, no record fits, records are damaged and
            `settings.broken` is `stop`, or `destination` is not writable.
    """
    return prepare_source(
        source(source_name),
        folders,
        destination,
        settings,
        n_processes=n_processes,
        on_progress=on_progress,
    )


def prepare_source(
    origin: Source,
    folders: Sequence[Path],
    destination: Path,
    settings: PrepareSettings,
    *,
    n_processes: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> PreparedSet:
    """Do as `prepare`, for a source that need not be in the catalog.

    What a run has read stays in a hidden folder until the set is complete, so a later run continues
    there and reads only records that are new, changed or damaged. One run works at a time; others
    that want the same set wait for it.
    """
    found = origin.entries(folders)
    request = PreparationRequest(origin, folders, found, settings)
    ready = request.ready_in(destination)
    try:
        if ready is None:
            with _held(destination, request) as part:
                # Another process may have finished the set while this one waited.
                ready = request.ready_in(destination) or _prepare_in(
                    part, destination, request, n_processes, on_progress
                )
    except OSError as error:
        raise DataError(f"cannot write to {destination}: {error.strerror or error}") from error
    prepared = open_prepared(ready)
    logger.info("prepared %s: %s", ready.name, prepared.manifest["counts"])
    return prepared


class PreparationRequest:
    """The set that is asked for: its records, and the fingerprint that names it.

    The input counts by the content of its tables and of files without checksums, by the content of
    headers that hold the checksums of their signals, and by the names and sizes of those signals,
    so the fingerprint is equal on all machines that hold the same data.
    """

    def __init__(
        self,
        origin: Source,
        folders: Sequence[Path],
        found: Listing,
        settings: PrepareSettings,
    ) -> None:
        self.origin = origin
        self.found = found
        self.settings = settings
        # What a damaged record does is no property of a set in which none is damaged.
        self.form = {key: value for key, value in asdict(settings).items() if key != "broken"}
        key = json.dumps([_VERSION, origin.name, origin.version, repr(origin), self.form])
        self.kind = hashlib.sha256(key.encode()).hexdigest()
        """Hash of reader and settings alone."""
        self.identities = {entry.record: _identity(entry) for entry in found}
        digest = hashlib.sha256(self.kind.encode())
        for table in origin.tables(folders):
            digest.update(_content_hash(table).encode())
        for identity in self.identities.values():
            digest.update(identity.encode())
        self.fingerprint = digest.hexdigest()

    def folder_name(self, fingerprint: str) -> str:
        """Return the name of the prepared set's folder."""
        return f"{self.origin.name}-{fingerprint[:12]}"

    @property
    def fingerprint_without_damaged(self) -> str:
        """The fingerprint of the set from which damaged records were left out."""
        return hashlib.sha256(f"{self.fingerprint} without damaged".encode()).hexdigest()

    def ready_in(self, destination: Path) -> Path | None:
        """Return the folder of the set if it exists, None if it must be made.

        Raises:
            DataError: it was made without records that are no longer damaged.
        """
        whole = destination / self.folder_name(self.fingerprint)
        if whole.exists():
            return whole
        partial = destination / self.folder_name(self.fingerprint_without_damaged)
        if self.settings.broken == "stop" or not partial.exists():
            return None
        damaged = {
            row["record"] for row in open_prepared(partial).manifest["dropped"] if row["broken"]
        }
        for entry in (entry for entry in self.found if entry.record in damaged):
            again = outcome(self.origin, entry, self.settings)
            if not (isinstance(again, Dropped) and again.broken):
                raise DataError(
                    f"{partial} was prepared without record {entry.record}, which was damaged and "
                    "is whole now; remove that folder and prepare again"
                )
        return partial


def _prepare_in(
    part: Path,
    destination: Path,
    request: PreparationRequest,
    n_processes: int,
    on_progress: Callable[[int, int], None] | None,
) -> Path:
    """Complete the hidden folder `part`, give it the set's name, and return that folder."""
    origin, settings = request.origin, request.settings
    known = request.identities
    names = list(known)
    with PreparedWriter(part, settings.n_samples) as writer:
        left = [each for each in request.found if not writer.holds(each.record, known[each.record])]
        done = len(names) - len(left)
        for read in outcomes(origin, left, settings, n_processes=n_processes):
            writer.add(read, identity=known[read.record])
            done += 1
            if on_progress is not None:
                on_progress(done, len(names))
        damaged = writer.damaged(names)
        if damaged and settings.broken == "stop":
            raise DataError(_damaged_in_words(origin.name, damaged, len(names)))
        if writer.n_kept(names) == 0:
            raise DataError(f"{origin.name}: no record fits: {writer.dropped_summary(names)}")
        fingerprint = request.fingerprint_without_damaged if damaged else request.fingerprint
        writer.finish(
            {
                "source": origin.name,
                "source_version": origin.version,
                "prepare_version": _VERSION,
                "fingerprint": fingerprint,
                "settings": request.form,
                "published_records": published_records(origin.name),
                "left_aside": {
                    reason: {"count": len(aside), "names": list(aside[:20])}
                    for reason, aside in request.found.aside.items()
                },
            },
            names,
        )
    (part / _LOCK).unlink()
    final = destination / request.folder_name(fingerprint)
    part.rename(final)
    return final


def _damaged_in_words(source_name: str, damaged: Sequence[Dropped], n_records: int) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for drop in damaged:
        detail = f": {drop.detail}" if drop.detail and len(damaged) <= 3 else ""
        groups[drop.reason].append(f"{drop.record}{detail}")
    listed = "; ".join(
        f"{len(records)} x {reason} ({first_few(records)})" for reason, records in groups.items()
    )
    return (
        f"{source_name}: {len(damaged)} of {n_records} records are damaged: {listed}; fetch these "
        "again and repeat the command, which reads only them, or leave them out: --broken drop, in "
        'a study file broken = "drop"'
    )


@contextmanager
def _held(destination: Path, request: PreparationRequest) -> Iterator[Path]:
    """Give the hidden folder of the unfinished set; other processes wait until it is released."""
    destination.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(destination)
    part = destination / f".{request.origin.name}-{request.kind[:12]}.part"
    while True:
        part.mkdir(exist_ok=True)
        try:
            lock = (part / _LOCK).open("w")
        except FileNotFoundError:
            continue  # Another process has just finished and renamed the folder.
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(part / _LOCK, lock.fileno()):
                continue
            yield part
            if not any(path.name != _LOCK for path in part.glob("*")):
                shutil.rmtree(part, ignore_errors=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    """Return True if the open file is still the one at `path`."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _identity(entry: RecordEntry) -> str:
    """Return a hash of what decides how a record is stored."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((entry.record, entry.facts, entry.left_out)).encode())
    checked = False
    for file in entry.files:
        try:
            if file.suffix.lower() == ".hea":
                with file.open("rb") as stream:
                    header = stream.read(_HASHED_WHOLE_BYTES)
                checked = _states_checksums(header)
                digest.update(file.name.encode() + header)
            elif checked:
                digest.update(f"{file.name} {file.stat().st_size}".encode())
            else:
                digest.update(f"{file.name} {_content_hash(file)}".encode())
        except OSError:
            digest.update(f"{file.name} is missing".encode())
    return digest.hexdigest()


def _states_checksums(header: bytes) -> bool:
    """Return True if every signal line of a WFDB header has a checksum, its seventh field."""
    lines = [line for line in header.splitlines() if line.strip() and not line.startswith(b"#")]
    return all(len(line.split(None, 7)) > 6 for line in lines[1:])


def _content_hash(file: Path) -> str:
    status = file.stat()
    return _hash_of_content(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _hash_of_content(file: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 part of the key
    # Cached, because hundreds of records may lie in one file.
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove_abandoned(destination: Path) -> None:
    """Remove unfinished sets that nobody has worked on for a week."""
    for part in destination.glob(".*.part"):
        try:
            changed = max(path.stat().st_mtime for path in (part, *part.iterdir()))
        except FileNotFoundError:
            continue
        if time.time() - changed > _ABANDONED_AFTER_S:
            shutil.rmtree(part, ignore_errors=True)
