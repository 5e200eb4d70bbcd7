"""Lists of SHA-256 checksums as PhysioNet and `sha256sum` write them."""

import re
from collections.abc import Mapping
from pathlib import Path

from ecgopt.data.unpack import safe_relative_path
from ecgopt.errors import DataError

# PhysioNet puts one blank between hash and name; sha256sum two, or a blank and `*` (binary mode).
_LINE = re.compile(r"([0-9a-fA-F]{64})(?: [ *]?|\t)(\S.*)")
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
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no list of SHA-256 checksums") from error
    for line in filter(str.strip, lines):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{path.name} is no list of SHA-256 checksums: {line[:80]!r}")
        safe = safe_relative_path(match.group(2))
        if safe is None:
            raise DataError(f"{path.name} names {match.group(2)[:80]!r}, a file outside its folder")
        if wanted.fullmatch(str(safe)):
            found[str(safe)] = match.group(1).lower()
    if not found:
        raise DataError(f"{path.name} lists no file of this data set; check the mirror's address")
    return found
