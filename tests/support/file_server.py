"""A local HTTP server that behaves as badly as a test asks."""

import hashlib
import re
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class FileServer(ThreadingHTTPServer):
    """Serves `files`; every kind of misbehaviour is an attribute."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cut_after: int | None = None
        """Bytes after which a response breaks off."""
        self.cuts_left = 10**9
        self.corrupt: Counter[str] = Counter()
        """How many more times a file is served with a wrong byte."""
        self.status: dict[str, list[int]] = {}
        """Status codes to answer with first."""
        self.requests: list[tuple[str, str | None]] = []
        self.bytes_sent = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add_checksums(self, name: str = "SHA256SUMS.txt") -> None:
        """List the checksums of all files as PhysioNet does: one blank between hash and path."""
        lines = [f"{hashlib.sha256(data).hexdigest()} {path}" for path, data in self.files.items()]
        self.files[name] = "\n".join(lines).encode() + b"\n"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name, wanted = unquote(self.path.lstrip("/")), self.headers.get("Range")
        self.server.requests.append((name, wanted))
        if self.server.status.get(name):
            self._refuse(self.server.status[name].pop(0))
        elif name not in self.server.files:
            self._refuse(404)
        else:
            self._serve(name, wanted)

    def _refuse(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _serve(self, name: str, wanted: str | None) -> None:
        data = self.server.files[name]
        if self.server.corrupt[name] > 0:
            self.server.corrupt[name] -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        start = 0
        if wanted and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        limit = self.server.cut_after
        if limit is not None and len(body) > limit and self.server.cuts_left > 0:
            self.server.cuts_left -= 1
            body = body[:limit]
            self.close_connection = True
        self.wfile.write(body)
        self.server.bytes_sent += len(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def file_server():
    """Give a running server."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
