"""The places that the files of a data set come from: a web address, or a local copy."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from ecgopt.errors import DataError

_CHUNK_BYTES = 1 << 13
"""Small, because the chunk in which a connection breaks is lost."""
_COPIED_BYTES = 1 << 20
_TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two chunks."""
_PATIENCE = 6
"""Attempts in a row that bring nothing before a download is given up."""
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}

logger = logging.getLogger(__name__)


class Origin(Protocol):
    """A place that files can be taken from by their path below it."""

    def bring(self, name: str, part: Path, on_bytes: Callable[[int], None]) -> None:
        """Complete the partial file `part` with the content of `name`.

        Raises:
            DataError: the file is not there, or its reading breaks off.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A folder on this machine in which the files lie as they do at their publisher."""

    folder: Path

    def bring(self, name: str, part: Path, on_bytes: Callable[[int], None]) -> None:
        """Copy the file `name`; the copy is not moved or changed."""
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            source = (self.folder / name).open("rb")
        except OSError as error:
            raise DataError(f"{self.folder / name}: {error.strerror}") from error
        with source, part.open("wb") as stream:
            while chunk := source.read(_COPIED_BYTES):
                stream.write(chunk)
                on_bytes(len(chunk))


@dataclass(frozen=True, slots=True)
class Web:
    """A web address below which the files lie; a broken download continues where it broke."""

    base: str
    sleep: Callable[[float], None] = time.sleep
    """Waits between attempts, in seconds."""

    def bring(self, name: str, part: Path, on_bytes: Callable[[int], None]) -> None:
        """Download the file `name`, from the byte on that `part` does not hold yet."""
        from requests.exceptions import RequestException

        url = self.base + quote(name)
        part.parent.mkdir(parents=True, exist_ok=True)
        fruitless = 0
        while fruitless < _PATIENCE:
            before = _size(part)
            try:
                if _attempt(url, part, on_bytes):
                    return
            except RequestException as error:
                logger.info("%s: %s", url, error)
            fruitless = 0 if _size(part) > before else fruitless + 1
            self.sleep(min(0.5 * 2**fruitless, 20.0))
        raise DataError(f"{url}: the connection broke {_PATIENCE} times; run fetch again later")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _attempt(url: str, part: Path, on_bytes: Callable[[int], None]) -> bool:
    """Return True if the partial file is whole now."""
    import requests

    have = _size(part)
    # Compressed transfer would make byte positions meaningless.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return _nothing_left(response.headers.get("Content-Range", ""), part, have)
        if response.status_code in _WORTH_ANOTHER_TRY:
            return False
        if not response.ok:
            raise DataError(f"{url}: {response.status_code} {response.reason}")
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        with part.open("ab" if have and resumed else "wb") as stream:
            for chunk in response.iter_content(_CHUNK_BYTES):
                stream.write(chunk)
                on_bytes(len(chunk))
    return True


def _nothing_left(content_range: str, part: Path, have: int) -> bool:
    """Return True if the server says that `have` bytes are all; otherwise drop the partial file."""
    if content_range == f"bytes */{have}":
        return True
    part.unlink()
    return False
