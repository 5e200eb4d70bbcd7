"""Preparation: every record of a data set read once, conditioned, and stored for fast opening."""

import fcntl
import logging
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ecgopt.data.listing import first_few
from ecgopt.data.outcomes import Dropped, outcomes
from ecgopt.data.prepared import PreparedSet, open_prepared
from ecgopt.data.prepared_writer import PreparedWriter
from ecgopt.data.records import Source
from ecgopt.data.request import PREPARE_VERSION, PreparationRequest, remember_folders
from ecgopt.data.signals import PrepareSettings
from ecgopt.data.sources.catalog import published_records, source
from ecgopt.errors import DataError

__all__ = ["PrepareSettings", "PreparedSet", "open_prepared", "prepare", "prepare_source"]

_ABANDONED_AFTER_S = 7 * 86_400.0

LOCK = "lock"
"""File of an unfinished set that the process at work holds."""

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
    request = PreparationRequest(origin, folders, settings)
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
    remember_folders(ready, folders)
    prepared = open_prepared(ready)
    logger.info("prepared %s: %s", ready.name, prepared.manifest["counts"])
    return prepared


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
                "prepare_version": PREPARE_VERSION,
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
    return _publish(part, destination / request.folder_name(fingerprint))


def _publish(part: Path, final: Path) -> Path:
    """Give the finished folder its name; if another machine was first, its equal result stays."""
    try:
        part.rename(final)
    except OSError:
        if not final.exists():
            raise
        shutil.rmtree(part, ignore_errors=True)
    # The lock goes last: who waits for it must find the set, and not an unfinished folder.
    (final / LOCK).unlink(missing_ok=True)
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
        f"{source_name}: {len(damaged)} of {n_records} records are damaged or missing: {listed}; "
        "fetch these again and repeat the command, which reads only them, or leave them out: "
        '--broken drop, in a study file broken = "drop"'
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
            lock = (part / LOCK).open("w")
        except FileNotFoundError:
            continue  # Another process has just finished and renamed the folder.
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(part / LOCK, lock.fileno()):
                continue
            yield part
            if not any(path.name != LOCK for path in part.glob("*")):
                shutil.rmtree(part, ignore_errors=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    """Return True if the open file is still the one at `path`."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _remove_abandoned(destination: Path) -> None:
    """Remove unfinished sets that nobody has worked on for a week."""
    for part in destination.glob(".*.part"):
        try:
            changed = max(path.stat().st_mtime for path in (part, *part.iterdir()))
        except FileNotFoundError:
            continue
        if time.time() - changed > _ABANDONED_AFTER_S:
            shutil.rmtree(part, ignore_errors=True)
