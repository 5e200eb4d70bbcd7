"""The export bundle: evidence, predictions and results in one folder or zip file, with hashes."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ecgopt.errors import DataError, UserError
from ecgopt.evidence.records import Evidence, from_json, to_json
from ecgopt.files import sha256_of

EVIDENCE, RESULTS, SUMS = "evidence.json", "results.json", "SHA256SUMS"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An opened bundle."""

    evidence: Evidence
    results: Mapping[str, Any]
    """What results.json held when the bundle was written."""
    root: Path
    """Folder that the evidence's paths are relative to."""
    sums: Mapping[str, str]
    """SHA-256 by file name, as recorded."""


def is_bundle(path: Path) -> bool:
    """Tell whether `path` looks like a bundle: a zip file, or a folder with evidence."""
    return path.suffix == ".zip" or (path / EVIDENCE).is_file()


def write_bundle(
    evidence: Evidence, workspace: Path, target: Path, *, results: Mapping[str, Any]
) -> Path:
    """Write the bundle of `evidence` to `target` and return it.

    The same evidence always gives the same bytes. A folder is written under a temporary name
    first, so that a reader never meets half a bundle.

    Args:
        evidence: Of one comparison.
        workspace: Folder that its paths are relative to.
        target: A name that ends in .zip, or a folder that does not exist yet.
        results: The content of results.json.

    Raises:
        DataError: a file of predictions is missing or was altered.
        UserError: `target` exists or cannot be written.
    """
    if target.exists():
        raise UserError(f"bundle {target}: exists already: delete it or choose another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
            folder = Path(name) / "bundle"
            _fill(folder, evidence, workspace, results)
            if target.suffix == ".zip":
                packed = Path(name) / "bundle.zip"
                _pack(folder, packed)
                return packed.replace(target)
            return folder.replace(target)
    except OSError as error:
        raise UserError(
            f"bundle {target}: cannot be written ({error.strerror or error})"
        ) from error


def _fill(folder: Path, evidence: Evidence, workspace: Path, results: Mapping[str, Any]) -> None:
    folder.mkdir()
    for relative, sha256 in prediction_files(evidence).items():
        source, copy = inside(workspace, relative), folder / relative
        if not source.is_file():
            raise DataError(f"predictions {source}: no such file: the bundle would be incomplete")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        if sha256 and sha256_of(copy) != sha256:
            raise DataError(f"predictions {source}: altered since it was recorded")
    (folder / EVIDENCE).write_text(to_json(evidence), "utf-8")
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RESULTS).write_text(text, "utf-8")
    sums = "".join(
        f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)
    )
    (folder / SUMS).write_text(sums, "utf-8")


def prediction_files(evidence: Evidence) -> dict[str, str | None]:
    """Return every file that the evidence points to, with its recorded SHA-256."""
    found: dict[str, str | None] = {}
    for final in evidence.finals:
        if final.predictions:
            found[final.predictions] = final.predictions_sha256
        if final.validation_predictions:
            found[final.validation_predictions] = final.validation_predictions_sha256
    return dict(sorted(found.items()))


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`, which must not lead out of `root`.

    Raises:
        DataError: it does.
    """
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"predictions {relative!r}: the path must stay inside the bundle")
    return root / parts


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open the bundle at `path`, a zip file or a folder; a zip is unpacked while it is open.

    Raises:
        UserError: `path` is not a bundle.
        DataError: its evidence points outside it.
    """
    if not path.exists():
        raise UserError(f"bundle {path}: no such file or folder")
    with tempfile.TemporaryDirectory(prefix="ecgopt-bundle-") as name:
        root = path
        if path.is_file():
            root = Path(name)
            _unpack(path, root)
        yield _read(path, root)


def _unpack(path: Path, root: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                inside(root, member)
            archive.extractall(root)
    except zipfile.BadZipFile as error:
        raise UserError(f"bundle {path}: must be a zip file or a folder ({error})") from error


def _read(path: Path, root: Path) -> Bundle:
    missing = [name for name in (EVIDENCE, RESULTS, SUMS) if not (root / name).is_file()]
    if missing:
        raise UserError(f"bundle {path}: {missing[0]} is missing, so this is not a bundle")
    evidence = from_json((root / EVIDENCE).read_bytes())
    for relative in prediction_files(evidence):
        inside(root, relative)
    try:
        results = json.loads((root / RESULTS).read_text("utf-8"))
        lines = (root / SUMS).read_text("utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"bundle {path}: damaged ({error})") from error
    return Bundle(evidence=evidence, results=results, root=root, sums=sums)


def altered_files(bundle: Bundle) -> list[str]:
    """Return the files whose hash differs from the recorded one, missing and added ones too."""
    found = {
        path.relative_to(bundle.root).as_posix(): sha256_of(path)
        for path in _files(bundle.root)
        if path.name != SUMS
    }
    names = sorted(found.keys() | bundle.sums.keys())
    return [name for name in names if found.get(name) != bundle.sums.get(name)]


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
