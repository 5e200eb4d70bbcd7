"""Asking real processes to stop, once politely and once not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from freezing import freeze
from processes import running
from sqlalchemy import select
from watching import wait_for, watched

from ecgopt.database.engine import open_database
from ecgopt.database.tables import work_item
from ecgopt.workspace import Workspace

pytestmark = pytest.mark.chaos

AT_ONCE = 143


@pytest.fixture
def study(study_file):
    """Return a study whose trials outlast every test, and save nothing before they are asked to."""
    return study_file(trials=2, epochs_high=2000, published_epochs=2000, lease=3, checkpoint=3600)


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path / "ws")


@pytest.fixture
def url(memory_folder):
    return f"sqlite:///{memory_folder}/ecgopt.sqlite3"


def supervisor(study, place, url, *options):
    command = ("worker", study, "--workers", 2, "--workspace", place.root, *options)
    return running(*command, ECGOPT_STORAGE=url)


def trials(url):
    database = open_database(url)
    with database.transaction() as connection:
        query = select(work_item).where(work_item.c.kind == "trial")
        found = connection.execute(query).all()
    database.engine.dispose()
    return found


def saved_epochs(place, item):
    """Return the number of epochs in each checkpoint of a trial."""
    (folder,) = place.root.glob("running/tiny-*")
    own = place.run_state(folder.name, item.key)
    return [int(path.stem.removeprefix("epoch-")) for path in own.glob("*.safetensors")]


def is_alive(pid):
    """Tell whether a process exists that is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def assert_given_back(place, url, n_begun):
    """Assert that the begun trials wait, saved, for other workers, and nobody counts as lost."""
    found = trials(url)
    assert {(row.state, row.owner) for row in found} == {("free", None)}
    assert sum(row.total_failures for row in found) == 0
    begun = [row for row in found if row.progress]
    assert len(begun) == n_begun
    for row in begun:
        (saved,) = saved_epochs(place, row)
        assert saved >= row.progress


def test_sigterm_lets_a_host_save_its_epochs_give_everything_back_and_leave_with_0(
    study, place, url
):
    with watched(url) as seen, supervisor(study, place, url) as host:
        workers = wait_for(lambda: both(seen.in_trials()), "two workers in trials")
        host.send_signal(signal.SIGTERM)
        _, errors = host.communicate(timeout=120)
        assert host.returncode == 0, errors
        assert "killed" not in errors
        assert not any(is_alive(worker.pid) for worker in workers)
        assert seen.in_trials() == []
    assert_given_back(place, url, n_begun=2)


def test_a_second_sigterm_ends_a_host_and_its_workers_at_once(study, place, url):
    with watched(url) as seen, supervisor(study, place, url, "--grace-seconds", 3600) as host:
        stuck, other = wait_for(lambda: both(seen.in_trials()), "two workers in trials")
        freeze(stuck.pid, seen.database)
        host.send_signal(signal.SIGTERM)
        wait_for(lambda: not is_alive(other.pid), "the end of the worker that can leave")
        # From here on the host waits for the frozen worker, as long as its grace time allows.
        assert host.poll() is None
        host.send_signal(signal.SIGTERM)
        _, errors = host.communicate(timeout=120)
        assert host.returncode == AT_ONCE, errors
        wait_for(lambda: not is_alive(stuck.pid), "the end of the frozen worker")


def test_a_worker_whose_supervisor_is_gone_saves_its_epoch_and_leaves_with_0(study, place, url):
    command = [sys.executable, "-m", "ecgopt.cli.worker_process", study, place.root, "supervised"]
    with watched(url) as seen:
        process = subprocess.Popen(
            command, env={**os.environ, "ECGOPT_STORAGE": url}, stdin=subprocess.PIPE
        )
        wait_for(seen.in_trials, "a worker in a trial")
        process.stdin.close()
        assert process.wait(timeout=120) == 0
    assert_given_back(place, url, n_begun=1)


def test_a_second_sigterm_ends_a_worker_in_the_middle_of_an_epoch(url, crowd):
    _, workers = crowd(url, trials=1, lease=30, options={"epoch_seconds": 3600})
    with workers:
        workers.add(1)
        member, item = workers.wait_until(workers.holder)
        while member.is_alive():  # two signals that come together count as one
            os.kill(member.pid, signal.SIGTERM)
            member.join(0.1)
        assert member.exitcode == AT_ONCE
        assert workers.holder_of(item.id) == item.owner  # until the lease ends


def both(workers):
    return workers if len(workers) == 2 else None
