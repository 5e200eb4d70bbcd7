"""Removes prepared sets, unfinished ones and fetched files, so that no half of one is left."""

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from ecgopt.data.download import FETCHED, SUMS
from ecgopt.data.prepare import LOCK
from ecgopt.data.prepared import MANIFEST, prepared_folders
from ecgopt.errors import DataError


def removable(destination: Path, name: str) -> list[Path]:
    """Return the prepared sets and unfinished ones of a data set below `destination`.

    Args:
        destination: Folder of prepared sets.
        name: The data set's name, or the name of the folder of one of its sets.

    Raises:
        DataError: there is none.
    """
    if any(name == path.parent.name for path in destination.glob(f"*/{MANIFEST}")):
        return [destination / name]
    unfinished = sorted(destination.glob(f".{escape(name)}-*.part"))
    found = [*prepared_folders(destination, name), *unfinished]
    if not found:
        present = ", ".join(path.parent.name for path in sorted(destination.glob(f"*/{MANIFEST}")))
        raise DataError(f"{name} is not prepared in {destination}; it holds {present or 'nothing'}")
    return found


def fetched_files(folder: Path) -> Path:
    """Return the folder of a fetched data set unchanged.

    Raises:
        DataError: `ecgopt data fetch` has not filled it, so what it holds may have no other copy.
    """
    if not any((folder / name).exists() for name in (SUMS, FETCHED)):
        raise DataError(f"{folder} holds no files that `ecgopt data fetch` has fetched")
    return folder


def bytes_in(folder: Path) -> int:
    """Return the size of all files below a folder; what links lead to does not count."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def remove_folder(folder: Path) -> None:
    """Remove a folder; it loses its name first, so that no process opens half of it.

    Raises:
        DataError: `prepare` is at work in it, or it cannot be removed.
    """
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        with _unless_at_work(folder):
            hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.removed")
            folder.rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise DataError(f"cannot remove {folder}: {error.strerror or error}") from error


@contextmanager
def _unless_at_work(folder: Path) -> Iterator[None]:
    """Hold the lock of an unfinished set."""
    if not (folder / LOCK).exists():
        yield
        return
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"`ecgopt data prepare` is at work in {folder}; wait for it") from error
        yield
