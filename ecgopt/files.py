"""Writing files whole or not at all, and their SHA-256."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` at the end of the block.

    A reader meets the old file or the whole new one, also after a power cut. Writers of the same
    path do not disturb each other: the last one to finish wins. An error in the block leaves the
    old file as it is and removes the temporary one.

    Args:
        path: The file to write; its folder is made when it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique over hosts and containers that share the folder, which a process id is not.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> Path:
    """Write `content` to `path` whole or not at all, and return `path`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; Windows cannot open folders and does not need it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
