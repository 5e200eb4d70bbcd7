"""A local HTTP server that notes what is posted to it and answers as a test asks."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebhookServer(ThreadingHTTPServer):
    """Keeps the JSON of every POST."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[dict[str, str]] = []
        self.status = 200
        self.location = ""
        """Where to redirect to."""
        self.is_slow = False
        """Whether headers come one at a time and have no end."""
        self.is_closing = threading.Event()

    def address(self, path: str = "hook") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(json.loads(content))
        if self.server.is_slow:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            for number in range(90):
                if self.server.is_closing.is_set():
                    return
                self.wfile.write(b"X-%d: 1\r\n" % number)
                self.wfile.flush()
                time.sleep(0.05)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def webhook_server():
    """Give a running server."""
    server = WebhookServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.is_closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
