"""Preparation: every record of a data set read once, conditioned, and stored for fast opening."""

import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ecgopt.data.conditioning import PrepareSettings
from ecgopt.data.outcomes import outcomes
from ecgopt.data.prepared import PreparedSet, open_prepared
from ecgopt.data.prepared_writer import PreparedWriter
from ecgopt.data.records import RecordEntry, Source
from ecgopt.data.sources.catalog import source
from ecgopt.errors import DataError

__all__ = ["PrepareSettings", "PreparedSet", "open_prepared", "prepare", "prepare_source"]

_VERSION = 4
"""Rises whenever the same input would be stored otherwise."""

_ABANDONED_AFTER_S = 86_400.0

_HASHED_WHOLE_BYTES = 1 << 16

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
        DataError: a folder or table is missing, no record fits, or `destination` is not writable.
        RecordError: a record is damaged and `settings.broken` is `stop`.
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
    """Do as `prepare`, for a source that need not be in the catalog."""
    entries = origin.entries(folders)
    fingerprint = preparation_fingerprint(origin, folders, entries, settings)
    final = destination / f"{origin.name}-{fingerprint[:12]}"
    if final.exists():
        return open_prepared(final)
    _remove_abandoned(destination)
    part = destination / f".{final.name}.{uuid.uuid4().hex[:12]}.part"
    try:
        part.mkdir(parents=True)
        with PreparedWriter(part, settings.n_samples) as writer:
            found = outcomes(origin, entries, settings, n_processes=n_processes)
            for done, outcome in enumerate(found, start=1):
                writer.add(outcome)
                if on_progress is not None:
                    on_progress(done, len(entries))
            if writer.n_kept == 0:
                raise DataError(f"{origin.name}: no record fits: {writer.dropped_summary()}")
            writer.finish(
                {
                    "source": origin.name,
                    "source_version": origin.version,
                    "prepare_version": _VERSION,
                    "fingerprint": fingerprint,
                    "settings": asdict(settings),
                }
            )
        _publish(part, final)
    except OSError as error:
        raise DataError(f"cannot write to {destination}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    prepared = open_prepared(final)
    logger.info("prepared %s: %s", final.name, prepared.manifest["counts"])
    return prepared


def preparation_fingerprint(
    origin: Source,
    folders: Sequence[Path],
    entries: Sequence[RecordEntry],
    settings: PrepareSettings,
) -> str:
    """Return a hash of everything that decides the prepared set.

    The input counts by the content of its tables and headers (which hold the checksums of the
    signals) and by the names and sizes of its signal files, so the hash is equal on all machines
    that hold the same data.
    """
    digest = hashlib.sha256()
    key = [_VERSION, origin.name, origin.version, repr(origin), asdict(settings)]
    digest.update(json.dumps(key, sort_keys=True).encode())
    for table in origin.tables(folders):
        digest.update(hashlib.sha256(table.read_bytes()).digest())
    for entry in entries:
        digest.update(entry.record.encode())
        for file in entry.files:
            digest.update(_file_identity(file))
    return digest.hexdigest()


def _file_identity(file: Path) -> bytes:
    try:
        if file.suffix == ".hea":
            with file.open("rb") as stream:
                return file.name.encode() + stream.read(_HASHED_WHOLE_BYTES)
        return f"{file.name} {file.stat().st_size}".encode()
    except OSError:
        return f"{file.name} is missing".encode()


def _remove_abandoned(destination: Path) -> None:
    """Remove what killed preparations left behind a day ago or earlier."""
    for part in destination.glob(".*.part"):
        try:
            abandoned = time.time() - part.stat().st_mtime > _ABANDONED_AFTER_S
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(part, ignore_errors=True)


def _publish(part: Path, final: Path) -> None:
    """Give the finished folder its name; if another process was first, its equal result stays."""
    try:
        part.rename(final)
    except OSError:
        if not final.exists():
            raise
