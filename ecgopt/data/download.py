"""Fetches data sets: resumable, in parallel, and every file is checked by its checksum."""

import fcntl
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecgopt.data.checksums import read_checksums
from ecgopt.data.errata import is_never_served, served_hashes
from ecgopt.data.origins import LocalCopy, Origin, Web
from ecgopt.data.sources.catalog import DatasetInfo, Download
from ecgopt.data.unpack import unpack
from ecgopt.errors import DataError
from ecgopt.files import sha256_of, write_whole

SUMS = "SHA256SUMS.txt"
FETCHED = "FETCHED.json"
"""Checksums of files for which the publisher states none, as found at the first fetch."""
_PARTS = ".parts"
_GIVE_UP_AFTER = 20
"""Failed files in a row, none fetched between them, after which the address counts as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """How a data set is fetched."""

    mirrors: tuple[str, ...] = ()
    """Addresses that replace the publisher's, in the order of trying; files lie below each as they
    do there."""
    local_copy: Path | None = None
    """A folder with the publisher's files, or its zip file; nothing is downloaded."""
    accept: frozenset[str] = frozenset()
    """Paths of files that may be missing or differ from their checksum."""
    connections: int = 8
    archive: bool = False
    """Fetch the publisher's one zip file instead of single files, where there is one."""

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 64:
            raise DataError(
                f"`1 <= connections <= 64` must hold, but got connections={self.connections}"
            )
        for mirror in self.mirrors:
            if urlsplit(mirror).scheme not in {"http", "https"}:
                raise DataError(f"mirror must begin with http:// or https://, but is {mirror!r}")
        if self.mirrors and self.local_copy is not None:
            raise DataError("give a mirror or a local copy, not both")


@dataclass
class FetchProgress:
    """What has been done so far; passed to the caller after every change."""

    files_total: int = 0
    files_done: int = 0
    bytes_received: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Files that could not be fetched, and why."""
    accepted: dict[str, str] = field(default_factory=dict)
    """Files that are missing or differ from their checksum, and why they count as fetched."""
    on_change: Callable[["FetchProgress"], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, files: int = 0, received: int = 0) -> None:
        """Count and tell the caller; may be called from any thread."""
        with self._lock:
            self.files_done += files
            self.bytes_received += received
            if self.on_change is not None:
                self.on_change(self)


def fetch(
    info: DatasetInfo,
    folder: Path,
    settings: FetchSettings,
    *,
    on_change: Callable[[FetchProgress], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> FetchProgress:
    """Bring the files of a data set to `folder`; what is there and right is not fetched again.

    A file that cannot be fetched does not stop the others: it is in `failed` of the result. An
    interrupted fetch continues where it was.

    Args:
        info: The data set.
        folder: Where its files go.
        settings: From where and how.
        on_change: Called after every chunk and file.
        sleep: Waits between attempts, in seconds.

    Raises:
        DataError: the data set has no address to fetch from, its list of checksums or archive
            cannot be had, nothing comes from the address, or `folder` cannot be written.
    """
    if info.download is None:
        raise DataError(f"{info.name} cannot be fetched without a visit: get it from {info.home}")
    progress = FetchProgress(on_change=on_change)
    fetcher = _Fetcher(info.name, info.download, folder, settings, progress, sleep)
    try:
        with _only_one(folder):
            fetcher.run()
    except OSError as error:
        raise DataError(f"cannot fetch to {folder}: {error.strerror or error}") from error
    return progress


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process: two fetches would write the same partial files."""
    (folder / _PARTS).mkdir(parents=True, exist_ok=True)
    with (folder / _PARTS / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another fetch is at work in {folder}; wait for it") from error
        yield


def _with_slash(address: str) -> str:
    return address.rstrip("/") + "/"


@dataclass(frozen=True, slots=True)
class _Fetcher:
    name: str
    download: Download
    folder: Path
    settings: FetchSettings
    progress: FetchProgress
    sleep: Callable[[float], None]

    def run(self) -> None:
        """Fetch the data set in the form that publisher and settings have it."""
        local = self.settings.local_copy
        if self.download.base is None:
            self._single_files()
        elif local is not None and local.is_file():
            self._unpack_and_verify(local)
        elif self.settings.archive:
            self._whole_archive()
        else:
            self._listed_files(self._origins(self.download.base, *self.download.mirrors))

    def _origins(self, *published: str) -> Sequence[Origin]:
        local = self.settings.local_copy
        if local is not None:
            return [LocalCopy(local.parent if local.is_file() else local)]
        return [Web(_with_slash(base), self.sleep) for base in self.settings.mirrors or published]

    def _part(self, name: str) -> Path:
        return self.folder / _PARTS / (name.replace("/", "~") + ".part")

    def _listed_files(self, origins: Sequence[Origin]) -> None:
        """Fetch the files that the list of checksums names."""
        # The list itself has no checksum, and an old one would hide a new version.
        self.progress.files_total += 1
        self._part(SUMS).unlink(missing_ok=True)
        self._retrieve(SUMS, origins, None)
        self.progress.add(files=1)
        self._fetch_all(read_checksums(self.folder / SUMS, self.download.include), origins)
        if not self.progress.failed:
            self._archive_file.unlink(missing_ok=True)

    @property
    def _archive_file(self) -> Path:
        return self.folder / _PARTS / "archive.zip"

    def _whole_archive(self) -> None:
        """Fetch and unpack one archive, then verify its files by the list of checksums in it."""
        if self.download.archive is None:
            raise DataError(f"{self.name} is not published as one archive; leave out --archive")
        if not (self.folder / SUMS).exists() or self._wrong_files():
            if not self._archive_file.exists():
                part = self._part("archive.zip")
                self._archive_origin().bring(
                    f"{self.name}.zip" if self.settings.mirrors else "", part, self._received
                )
                part.replace(self._archive_file)
            self._unpack_and_verify(self._archive_file)
            if self.progress.failed:
                return
        else:
            self._count_listed({})
        self._archive_file.unlink(missing_ok=True)

    def _archive_origin(self) -> Origin:
        assert self.download.archive is not None
        mirrors = self.settings.mirrors
        return Web(_with_slash(mirrors[0]) if mirrors else self.download.archive, self.sleep)

    def _unpack_and_verify(self, archive: Path) -> None:
        try:
            unpack(archive, self.folder, strip_top=True, include=rf"{self.download.include}|{SUMS}")
        except DataError:
            # Its own checksums are wrong: kept, it would fail for ever.
            self._archive_file.unlink(missing_ok=True)
            raise
        wrong = self._wrong_files()
        self.progress.failed.update(wrong)
        self._count_listed(wrong)

    def _count_listed(self, wrong: Collection[str]) -> None:
        """Count the files of the list that an archive brought whole."""
        n_listed = len(read_checksums(self.folder / SUMS, self.download.include))
        self.progress.files_total += n_listed
        self.progress.add(files=n_listed - len(wrong))

    def _wrong_files(self) -> dict[str, str]:
        """Return the files that are missing or differ from the list of checksums, and how."""
        wrong: dict[str, str] = {}
        for name, digest in read_checksums(self.folder / SUMS, self.download.include).items():
            path = self.folder / name
            found = sha256_of(path) if path.exists() else None
            if found not in (digest, served_hashes(self.name).get(name, digest)):
                reason = "is missing" if found is None else _differs(found, digest)
                if not self._is_accepted(name, reason):
                    wrong[name] = reason
        return wrong

    def _is_accepted(self, name: str, reason: str) -> bool:
        if is_never_served(self.name, name):
            self.progress.accepted[name] = f"{reason}, a known fault of the data set"
        elif name in self.settings.accept:
            self.progress.accepted[name] = f"{reason}, accepted"
        return name in self.progress.accepted

    def _single_files(self) -> None:
        """Fetch files without published checksums; zip files are unpacked and removed."""
        known: dict[str, Any] = {}
        if (self.folder / FETCHED).exists():
            known = json.loads((self.folder / FETCHED).read_text(encoding="utf-8"))
        self.progress.files_total += len(self.download.files)
        for address in self.download.files:
            base, _, name = address.rpartition("/")
            if name not in known or not self._is_whole(name, known[name]):
                try:
                    known[name] = self._single_file(name, self._origins(base)) | {
                        "address": address
                    }
                except DataError as error:
                    if not self._is_accepted(name, str(error)):
                        self.progress.failed[name] = str(error)
                    continue
                text = json.dumps(known, indent=1)
                write_whole(self.folder / FETCHED, text.encode())
            self.progress.add(files=1)
        if len(self.progress.failed) == len(self.download.files):
            raise DataError("; ".join(map(": ".join, self.progress.failed.items())))

    def _is_whole(self, name: str, facts: Mapping[str, Any]) -> bool:
        """Return True if the file, or everything that was unpacked from it, has its size."""
        return all(
            (self.folder / member).exists() and (self.folder / member).stat().st_size == size
            for member, size in facts.get("sizes", {name: -1}).items()
        )

    def _single_file(self, name: str, origins: Sequence[Origin]) -> dict[str, Any]:
        target = self.folder / name
        target.unlink(missing_ok=True)
        self._retrieve(name, origins, None)
        digest, members = sha256_of(target), [name]
        if target.suffix == ".zip":
            try:
                members = unpack(target, self.folder)
            finally:
                target.unlink()
        sizes = {member: (self.folder / member).stat().st_size for member in members}
        return {"sha256": digest, "sizes": sizes}

    def _fetch_all(self, files: Mapping[str, str], origins: Sequence[Origin]) -> None:
        self.progress.files_total += len(files)
        pool = ThreadPoolExecutor(self.settings.connections, thread_name_prefix="fetch")
        in_a_row = 0
        try:
            futures = {
                pool.submit(self._retrieve, name, origins, digest): name
                for name, digest in files.items()
            }
            for future in as_completed(futures):
                error, name = future.exception(), futures[future]
                if error is None or (
                    isinstance(error, DataError) and self._is_accepted(name, str(error))
                ):
                    in_a_row = 0
                    self.progress.add(files=1)
                    continue
                if not isinstance(error, DataError):
                    raise error
                self.progress.failed[name] = str(error)
                in_a_row += 1
                if in_a_row >= _GIVE_UP_AFTER:
                    raise DataError(
                        f"{in_a_row} files failed in a row, the last one: {name}: {error}"
                    )
        finally:
            pool.shutdown(cancel_futures=True)

    def _retrieve(self, name: str, origins: Sequence[Origin], digest: str | None) -> None:
        """Put the file `name` in its place, from the first origin that has it with its checksum.

        Raises:
            DataError: no origin has it, or its checksum is wrong.
        """
        target = self.folder / name
        right = set() if digest is None else {digest, served_hashes(self.name).get(name, digest)}
        if right and target.exists() and sha256_of(target) in right:
            return
        part = self._part(name)
        reason = "no origin has it"
        for origin in origins:
            # Wrong bytes may come from a resumed file that changed meanwhile: once more, whole.
            for _ in range(2):
                try:
                    origin.bring(name, part, self._received)
                except DataError as error:
                    reason = str(error)
                    break
                found = sha256_of(part)
                if digest is None or found in right or name in self.settings.accept:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part.replace(target)
                    self._note(name, found, digest)
                    return
                part.unlink()
                reason = f"{_differs(found, digest)}; try a mirror"
        raise DataError(reason)

    def _note(self, name: str, found: str, digest: str | None) -> None:
        if digest is not None and found != digest:
            known = found == served_hashes(self.name).get(name)
            why = "a known fault of the data set" if known else "accepted"
            self.progress.accepted[name] = f"{_differs(found, digest)}, {why}"

    def _received(self, count: int) -> None:
        self.progress.add(received=count)


def _differs(found: str, digest: str) -> str:
    return f"the SHA-256 is not the published {digest[:12]}..., but {found[:12]}..."
