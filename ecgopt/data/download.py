"""Fetches data sets: resumable, in parallel, and nothing is kept that fails its checksum."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ecgopt.data.checksums import read_checksums
from ecgopt.data.resuming import ResumingDownloader
from ecgopt.data.sources.catalog import DatasetInfo, Download
from ecgopt.data.unpack import unpack
from ecgopt.errors import DataError

SUMS = "SHA256SUMS.txt"
FETCHED = "FETCHED.json"
"""Checksums of files for which the publisher states none, as found at the first fetch."""
_PARTS = ".parts"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """How a data set is fetched."""

    mirror: str | None = None
    """Address that replaces the publisher's; files lie below it as they do there."""
    connections: int = 8
    archive: bool = False
    """Fetch the publisher's one zip file instead of single files, where there is one."""

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 64:
            raise DataError(
                f"`1 <= connections <= 64` must hold, but got connections={self.connections}"
            )
        if self.mirror is not None and urlsplit(self.mirror).scheme not in {"http", "https"}:
            raise DataError(f"mirror must begin with http:// or https://, but is {self.mirror!r}")


@dataclass
class FetchProgress:
    """What has been done so far; passed to the caller after every change."""

    files_total: int = 0
    files_done: int = 0
    bytes_received: int = 0
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

    Interrupted at any point, it goes on where it was.

    Args:
        info: The data set.
        folder: Where its files go.
        settings: From where and how.
        on_change: Called after every chunk and file.
        sleep: Waits between attempts, in seconds.

    Raises:
        DataError: the data set has no address to fetch from, a server refuses or breaks off again
            and again, a checksum is wrong, or `folder` cannot be written.
    """
    if info.download is None:
        raise DataError(f"{info.name} cannot be fetched without a visit: get it from {info.home}")
    progress = FetchProgress(on_change=on_change)
    fetcher = _Fetcher(folder, progress, settings.connections, sleep)
    try:
        with _only_one(folder):
            if info.download.base is None:
                fetcher.single_files(_addresses(info.download, settings))
            elif settings.archive:
                fetcher.whole_archive(*_archive(info.name, info.download, settings))
            else:
                base = _with_slash(settings.mirror or info.download.base)
                fetcher.listed_files(base, info.download.include)
    except OSError as error:
        raise DataError(f"cannot fetch to {folder}: {error.strerror or error}") from error
    return progress


def _with_slash(address: str) -> str:
    return address.rstrip("/") + "/"


def _addresses(download: Download, settings: FetchSettings) -> Sequence[str]:
    if settings.mirror is None:
        return download.files
    return [_with_slash(settings.mirror) + _name(address) for address in download.files]


def _archive(name: str, download: Download, settings: FetchSettings) -> tuple[str, str]:
    if download.archive is None:
        raise DataError(f"{name} is not published as one archive; leave out --archive")
    if settings.mirror is None:
        return download.archive, download.include
    return f"{_with_slash(settings.mirror)}{name}.zip", download.include


def _name(address: str) -> str:
    name = Path(urlsplit(address).path).name
    assert name, f"{address} names no file"
    return name


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process: two fetches would write the same partial files."""
    import fcntl

    (folder / _PARTS).mkdir(parents=True, exist_ok=True)
    with (folder / _PARTS / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another fetch is at work in {folder}; wait for it") from error
        yield


@dataclass(frozen=True, slots=True)
class _Fetcher:
    folder: Path
    progress: FetchProgress
    connections: int
    sleep: Callable[[float], None]

    def listed_files(self, base: str, include: str) -> None:
        """Fetch the files that the list of checksums at `base` names."""
        # The list itself has no checksum; a stale one would hide a new version, so fetch it anew.
        (self.folder / SUMS).unlink(missing_ok=True)
        self._fetch(base, {SUMS: None})
        self._fetch(base, read_checksums(self.folder / SUMS, include))

    def whole_archive(self, address: str, include: str) -> None:
        """Fetch and unpack one archive, then verify its files by the list of checksums in it."""
        archive = self.folder / _PARTS / "archive.zip"
        self.progress.files_total += 1
        if not self._verified(include):
            self._retrieve(address, archive, None)
            unpack(archive, self.folder, strip_top=True)
            archive.unlink()
            if not self._verified(include):
                raise DataError(f"{address}: files of the archive do not match its {SUMS}")
        self.progress.add(files=1)

    def single_files(self, addresses: Sequence[str]) -> None:
        """Fetch files without published checksums; zip files are unpacked and removed."""
        known: dict[str, Any] = {}
        if (self.folder / FETCHED).exists():
            known = json.loads((self.folder / FETCHED).read_text(encoding="utf-8"))
        self.progress.files_total += len(addresses)
        for address in addresses:
            name = _name(address)
            if name not in known:
                known[name] = self._single_file(address, self.folder / name)
                text = json.dumps(known, indent=1)
                (self.folder / FETCHED).write_text(text, encoding="utf-8")
            self.progress.add(files=1)

    def _single_file(self, address: str, target: Path) -> dict[str, str]:
        import pooch

        self._retrieve(address, target, None)
        digest = str(pooch.file_hash(str(target)))
        if target.suffix == ".zip":
            unpack(target, self.folder)
            target.unlink()
        return {"address": address, "sha256": digest}

    def _verified(self, include: str) -> bool:
        """Return True if the list of checksums is here and all its files are and match."""
        import pooch

        if not (self.folder / SUMS).exists():
            return False
        return all(
            (self.folder / name).exists() and pooch.file_hash(str(self.folder / name)) == digest
            for name, digest in read_checksums(self.folder / SUMS, include).items()
        )

    def _fetch(self, base: str, files: Mapping[str, str | None]) -> None:
        self.progress.files_total += len(files)
        pool = ThreadPoolExecutor(self.connections, thread_name_prefix="fetch")
        try:
            futures = [
                pool.submit(self._retrieve, base + quote(name), self.folder / name, digest)
                for name, digest in files.items()
            ]
            for future in as_completed(futures):
                future.result()
                self.progress.add(files=1)
        finally:
            pool.shutdown(cancel_futures=True)

    def _retrieve(self, address: str, target: Path, digest: str | None) -> None:
        """Fetch one file through pooch, which checks it and puts it in its place."""
        import pooch

        pooch.get_logger().setLevel(logging.WARNING)
        part = self.folder / _PARTS / (target.relative_to(self.folder).as_posix().replace("/", "~"))
        downloader = ResumingDownloader(
            part.with_name(part.name + ".part"),
            on_bytes=lambda count: self.progress.add(received=count),
            sleep=self.sleep,
        )
        for attempt in (1, 2):
            try:
                pooch.retrieve(
                    address,
                    known_hash=None if digest is None else f"sha256:{digest}",
                    fname=target.name,
                    path=target.parent,
                    downloader=downloader,
                )
            except ValueError as error:
                # Wrong bytes may come from a resumed file that changed meanwhile: once more, whole.
                logger.info("%s", error)
                if attempt == 2:
                    raise DataError(
                        f"{address}: the SHA-256 is not the published {digest}; try a mirror"
                    ) from error
            else:
                return
