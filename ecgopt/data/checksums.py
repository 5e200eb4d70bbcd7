"""Lists of SHA-256 checksums as PhysioNet and `sha256sum` write them."""

import re
from collections.abc import Mapping
from pathlib import Path

from ecgopt.data.unpack import safe_relative_path
from ecgopt.errors import DataError

# PhysioNet puts one blank between hash and name; sha256sum two, or a blank and `*` (binary mode);
# BSD's sha256 and `sha256sum --tag` write the name first. A line after `#` is a comment.
_LINES = (
    re.compile(r"\s*([0-9a-fA-F]{64})(?: [ *]|\s+)(\S.*?)\s*"),
    re.compile(r"\s*SHA(?:2-)?256 ?\((?P<name>.+)\) ?= ?(?P<hash>[0-9a-fA-F]{64})\s*"),
)
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
    for line in _lines(path.read_bytes()):
        name, digest = _name_and_hash(line, path.name)
        safe = safe_relative_path(name)
        if safe is None:
            raise DataError(f"{path.name} names {name[:80]!r}, a file outside its folder")
        # A list that was made in its own folder has a line for itself, which is never right.
        if str(safe) != path.name and wanted.fullmatch(str(safe)):
            found[str(safe)] = digest
    if not found:
        raise DataError(f"{path.name} lists no file of this data set; check the mirror's address")
    return found


def _lines(data: bytes) -> list[str]:
    """Return the lines that are neither empty nor comments."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    # A name that is no UTF-8 is one file that cannot be fetched, and no reason to refuse the list.
    text = data.decode("utf-16" if wide else "utf-8-sig", "replace")
    lines = re.split(r"\r\n|\n|\r", text)
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _name_and_hash(line: str, list_name: str) -> tuple[str, str]:
    plain, tagged = (form.fullmatch(line) for form in _LINES)
    if plain is not None:
        return plain.group(2), plain.group(1).lower()
    if tagged is not None:
        return tagged["name"], tagged["hash"].lower()
    raise DataError(f"{list_name} is no list of SHA-256 checksums: {line[:80]!r}")
