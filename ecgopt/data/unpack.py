"""Zip archives of strangers, unpacked without leaving the target folder."""

import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ecgopt.errors import DataError
from ecgopt.files import replacing

MAX_UNPACKED_BYTES = 64 << 30
_MAX_RATIO = 200
"""Largest credible growth; signals and tables shrink to a tenth at best."""


def unpack(
    archive: Path, folder: Path, *, strip_top: bool = False, include: str = ".*"
) -> list[str]:
    """Write the files of `archive` below `folder` and return their paths.

    Everything is checked before the first file is written.

    Args:
        archive: A zip file.
        folder: Where the files go.
        strip_top: Leave out the single folder that all members lie in, if there is one.
        include: Full match of the paths to write.

    Raises:
        DataError: the archive is damaged, names a member outside `folder`, holds a link, or grows
            beyond all measure.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            paths = [_safe_path(member, archive) for member in members]
            _refuse_bomb(members, archive)
            drop = _common_top(paths) if strip_top else 0
            written: list[str] = []
            for member, path in zip(members, paths, strict=True):
                name = "/".join(path.parts[drop:])
                if re.fullmatch(include, name):
                    _write(file, member, folder / name)
                    written.append(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive.name} is a damaged archive: {error}; fetch it again") from error
    return written


def safe_relative_path(name: str) -> PurePosixPath | None:
    """Return `name` as a relative path that stays below its folder, None if it does not."""
    path = PurePosixPath(name)
    hostile = "\\" in name or "\0" in name or ":" in name or path.is_absolute()
    if hostile or not path.parts or ".." in path.parts:
        return None
    return path


def _safe_path(member: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    # `orig_filename`, because zipfile silently mends some hostile names in `filename`.
    if member.header_offset < 0:
        raise zipfile.BadZipFile(f"a member lies {-member.header_offset} bytes before its begin")
    path = safe_relative_path(member.orig_filename)
    if path is None:
        name = member.orig_filename[:80]
        raise DataError(f"{archive.name} names {name!r}, a file outside its folder; not unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive.name} holds the link {path}; not unpacked")
    return path


def _refuse_bomb(members: list[zipfile.ZipInfo], archive: Path) -> None:
    total = sum(member.file_size for member in members)
    packed = max(archive.stat().st_size, 1)
    if total > MAX_UNPACKED_BYTES or (total > 1 << 28 and total / packed > _MAX_RATIO):
        raise DataError(f"{archive.name} grows from {packed} to {total} bytes; not unpacked")


def _common_top(paths: list[PurePosixPath]) -> int:
    tops = {path.parts[0] for path in paths}
    return 1 if len(tops) == 1 and all(len(path.parts) > 1 for path in paths) else 0


def _write(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with replacing(target) as part, file.open(member) as source, part.open("wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
