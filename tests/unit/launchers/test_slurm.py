"""What a Slurm job does with the signal that comes before the time limit, with real signals."""

import subprocess
import sys

import pytest

pytest.importorskip("submitit", reason="submitit is not installed")

# In a process of its own: pytest-timeout uses the same alarm.
SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
from ecgopt.launchers.remote_worker import RemoteWorker
from ecgopt.launchers.slurm import SlurmWorker

def requeue(number, frame):
    print("requeued", "in mid-epoch" if working else "after the epoch", flush=True)
    sys.exit(0)

def work(self, stop, *, owner, grace_seconds):
    global working
    working = True
    os.kill(os.getpid(), signal.{name})
    assert stop.wait(60)
    {epoch}
    working = False
    print("saved", flush=True)
    return 1

RemoteWorker.supervise = work
working = False
signal.signal(signal.SIGUSR2, requeue)
os.environ["ECGOPT_STORAGE"] = "sqlite:////nowhere/x.sqlite3"
worker = RemoteWorker(
    study=Path("study.toml"), workspace=Path("."), database="sqlite:////nowhere/x.sqlite3",
    storage_file=None, insecure=False, needs_gpu=False,
)
SlurmWorker(worker=worker, grace_seconds=31)()
print("ended", flush=True)
"""


def said(name, epoch):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name=name, epoch=epoch)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


def test_near_the_limit_the_epoch_ends_before_the_job_is_requeued():
    assert said("SIGUSR2", "pass") == ["saved", "requeued after the epoch"]


def test_an_epoch_longer_than_the_grace_time_does_not_keep_the_job_from_its_requeue():
    assert said("SIGUSR2", "time.sleep(60)") == ["requeued in mid-epoch"]


def test_sigterm_ends_the_epoch_and_leaves_the_requeue_to_slurm():
    assert said("SIGTERM", "pass") == ["saved", "ended"]
