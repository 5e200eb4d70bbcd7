"""A downloader for pooch that goes on where a broken connection left off."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ecgopt.errors import DataError

_CHUNK_BYTES = 1 << 13
"""Small, because the chunk in which a connection breaks is lost."""
_TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two chunks."""
_PATIENCE = 6
"""Attempts in a row that bring nothing before a download is given up."""
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}

logger = logging.getLogger(__name__)


class ResumingDownloader:
    """Fetches one address into a partial file that survives until the whole file is there."""

    def __init__(
        self,
        part: Path,
        *,
        on_bytes: Callable[[int], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._part = part
        self._on_bytes = on_bytes
        self._sleep = sleep

    def __call__(self, url: str, output_file: str | IO[Any], pooch: object) -> None:  # noqa: ARG002 pooch's interface
        """Write the content of `url` to `output_file`, whatever was fetched before included.

        Raises:
            DataError: the server refuses, or the connection breaks again and again.
        """
        from requests.exceptions import RequestException

        self._part.parent.mkdir(parents=True, exist_ok=True)
        fruitless = 0
        while fruitless < _PATIENCE:
            before = self._size()
            try:
                if self._attempt(url):
                    break
            except RequestException as error:
                logger.info("%s: %s", url, error)
            fruitless = 0 if self._size() > before else fruitless + 1
            self._sleep(min(0.5 * 2**fruitless, 20.0))
        else:
            raise DataError(f"{url}: the connection broke {_PATIENCE} times; run fetch again later")
        # A copy, because pooch deletes its file if the checksum is wrong.
        with self._part.open("rb") as source, Path(str(output_file)).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        self._part.unlink()

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _attempt(self, url: str) -> bool:
        """Return True if the partial file is whole now."""
        import requests

        have = self._size()
        # Compressed transfer would make byte positions meaningless.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return self._nothing_left(response.headers.get("Content-Range", ""), have)
            if response.status_code in _WORTH_ANOTHER_TRY:
                return False
            if not response.ok:
                raise DataError(f"{url}: {response.status_code} {response.reason}")
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            with self._part.open("ab" if have and resumed else "wb") as stream:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
                    if self._on_bytes is not None:
                        self._on_bytes(len(chunk))
        return True

    def _nothing_left(self, content_range: str, have: int) -> bool:
        """Return True if the server says that `have` bytes are all; otherwise start anew."""
        if content_range == f"bytes */{have}":
            return True
        self._part.unlink()
        return False
