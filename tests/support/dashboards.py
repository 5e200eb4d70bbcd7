"""A real dashboard process over a database, and requests to it."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOKEN = "a-token-for-tests-only-0123456789"


@dataclass(frozen=True, kw_only=True)
class Served:
    port: int
    link: str
    log: Path

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, *, body=None, **headers):
        """Return the answer's status, headers and body; `None` leaves a usual header out."""
        sent = {"Host": f"127.0.0.1:{self.port}", "Authorization": f"Bearer {TOKEN}", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            data = json.dumps(body).encode() if body is not None else b""
            sent["Content-Length"] = str(len(data))
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def json(self, path):
        status, _, body = self.ask("GET", path)
        assert status == 200, (path, status, body[:200])
        return json.loads(body)

    def studies(self):
        found = self.json("/api/studies")["study_summaries"]
        return {study["study_name"]: study["study_id"] for study in found}

    def id_of(self, ending):
        """Return the id of the study whose name ends so."""
        return next(found for name, found in self.studies().items() if name.endswith(ending))


@contextlib.contextmanager
def serve_dashboard(workspace, *arguments):
    """Serve the workspace's database on a free port until the block ends."""
    log = Path(workspace) / "dashboard.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "ecgopt", "dashboard", "--port", "0",
             "--workspace", str(workspace), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "ECGOPT_DASHBOARD_TOKEN": TOKEN},
            stdout=subprocess.PIPE, stderr=stream, text=True,
        )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line.startswith("dashboard: http://"), line + log.read_text()
        link = line.split()[1]
        yield Served(port=int(link.split(":")[2].split("/")[0]), link=link, log=log)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
