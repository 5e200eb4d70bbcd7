"""Lists of SHA-256 checksums as PhysioNet publishes them."""

import re
from collections.abc import Mapping
from pathlib import Path

from ecgopt.data.unpack import safe_relative_path
from ecgopt.errors import DataError

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_MAX_BYTES = 1 << 28


def read_checksums(path: Path, include: str) -> Mapping[str, str]:
    """Return path to SHA-256 of the files in the list `path` whose path fully matches `include`.

    Raises:
        DataError: the list is unreadable, no list of checksums, names a file outside its folder,
            or holds no wanted file.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"{path.name} is larger than {_MAX_BYTES >> 20} MiB")
    wanted = re.compile(include)
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no list of SHA-256 checksums") from error
    for line in filter(None, lines):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{path.name} is no list of SHA-256 checksums: {line[:80]!r}")
        name = match.group(2)
        if safe_relative_path(name) is None:
            raise DataError(f"{path.name} names {name[:80]!r}, a file outside its folder")
        if wanted.fullmatch(name):
            found[name] = match.group(1).lower()
    if not found:
        raise DataError(f"{path.name} lists no file of this data set; check the mirror's address")
    return found
