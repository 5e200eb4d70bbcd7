"""A real Ray cluster with simulated nodes, in a process of its own that takes orders by pipe.

Apart from the tests, because Ray reads its token once a process and warns a lot.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


class RayCluster:
    """A cluster of a head without work and two nodes of two cores; use as a context."""

    def __init__(self):
        pytest.importorskip("ray", reason="ray is not installed")
        # Ray puts sockets below it, whose paths may not be long.
        self.folder = Path(tempfile.mkdtemp(prefix="ecgopt-ray-", dir="/tmp"))
        (self.folder / "ray").mkdir()
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.environment = {
            # Ray notes its address below it: two clusters of one machine must not share the note.
            "RAY_TMPDIR": str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._log = self.folder / "cluster.log"
        self._process = None
        self.address = ""

    def __enter__(self):
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self.folder)],
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.address = self._answer()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()  # the end of its orders
        try:
            self._process.wait(timeout=60)
        finally:
            self._process.stdout.close()
            self._process.kill()
            self._process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def remove_node(self):
        """Take one node away without a warning."""
        self._order("remove")

    def kill_head(self):
        """Kill the server that every node and driver is connected to."""
        self._order("kill head")

    def _order(self, order):
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        assert self._answer() == order

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, f"the cluster died: {self._log.read_text()[-2000:]}"
        return json.loads(line)


def _serve(folder):
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    cluster.wait_for_nodes()
    answers.write(json.dumps(cluster.address) + "\n")
    answers.flush()
    for order in map(str.strip, sys.stdin):
        if order == "kill head":
            cluster.head_node.kill_gcs_server(check_alive=False)
        else:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        answers.write(json.dumps(order) + "\n")
        answers.flush()
    cluster.shutdown()


if __name__ == "__main__":
    _serve(sys.argv[1])
