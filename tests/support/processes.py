"""Starting the command line as real processes."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path


def ecgopt(*arguments, timeout=300, **environment):
    """Run the command line to its end and return the finished process, its output as text."""
    return subprocess.run(
        [sys.executable, "-m", "ecgopt", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_worker(study, workspace, **environment):
    """Start one worker process and return it; its output goes to a log in the workspace."""
    log = Path(workspace) / "test-worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "ecgopt.cli.worker_process", str(study), str(workspace)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def start(*arguments, **environment):
    """Start the command line in a process group of its own; its output comes by pipes as text."""
    return subprocess.Popen(
        [sys.executable, "-m", "ecgopt", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@contextmanager
def running(*arguments, **environment):
    """Start the command line as `start` does, and kill it at the end if it still runs."""
    with start(*arguments, **environment) as process:
        try:
            yield process
        finally:
            process.kill()


def start_run(study, workspace):
    """Start a whole run with one worker and return its process."""
    out = Path(workspace) / "out"
    return start("run", study, "--workers", 1, "--workspace", workspace, "--out", out)
