"""The supervisor of a host: what it starts, and what it does when a worker dies or hangs."""

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import scripted_worker
from fake_nvidia_smi import FakeNvidiaSmi
from freezing import freeze
from scripted_worker import FATAL_SLOT, begin_scripted, scripted_study
from sqlalchemy import select, update

from ecgopt.database.optuna.trial_rows import FAILURES, RUN
from ecgopt.database.tables import work_item
from ecgopt.errors import StorageError, UserError
from ecgopt.launchers.contract import Launch, Resources
from ecgopt.launchers.gpus import chosen_gpus
from ecgopt.launchers.launch import wait_until_done
from ecgopt.launchers.local import LocalLauncher, host_slots
from ecgopt.queue.heartbeats import request_stop, workers_seen
from ecgopt.queue.inspect import inspect_queue
from ecgopt.workspace import Workspace

pytestmark = pytest.mark.chaos

TESTS = Path(scripted_worker.__file__).parent
ROOT = Path(__file__).parents[2]
STUDY = "tiny/down/resnet1d18-w2/n60/r0/scratch"


@pytest.fixture
def supervised(tmp_path, sqlite_url, monkeypatch):
    """Return a function that begins a scripted study and starts its workers.

    It returns the launcher, which is stopped at the end of the test, and the database.
    """
    stack = ExitStack()
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{ROOT}")

    def begin(*, n_workers=2, command=None, gpus=0, **replacements):
        study = scripted_study(tmp_path, **replacements)
        spec, database = begin_scripted(study, sqlite_url)
        script = [sys.executable, scripted_worker.__file__, str(study), str(tmp_path / "ws")]
        launch = replace(
            Launch.of(study, spec, Workspace(tmp_path / "ws"), sqlite_url),
            command=tuple(command or script),
        )
        local = LocalLauncher(grace_seconds=20.0)
        local.submit(launch, Resources(workers=n_workers, gpus_per_worker=gpus))
        stack.callback(local.stop)
        return local, database

    with stack:
        yield begin


def rows(database):
    with database.transaction() as connection:
        return connection.execute(select(work_item)).all()


def tend_until(local, condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        local.poll()
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)


def trials(database):
    return optuna.load_study(study_name=STUDY, storage=database.optuna).get_trials(deepcopy=False)


def test_a_crashed_and_a_hung_worker_are_replaced_and_the_cause_is_kept(supervised):
    local, database = supervised(trials=3, lease=2, epochs_high=400)
    victims = []

    def victim():
        holders = {
            row.owner for row in rows(database) if (row.kind, row.state) == ("trial", "held")
        }
        seen = workers_seen(database, "tiny")
        found = [each.pid for each in seen if each.pid in local.pids and each.owner in holders]
        victims.extend(found[:1])
        return found

    def causes():
        found = [trial.user_attrs.get(FAILURES) for trial in trials(database)]
        return [cause for failure in found if failure for cause in failure["causes"]]

    tend_until(local, victim)
    os.kill(victims[-1], signal.SIGSEGV)
    tend_until(local, lambda: "SIGSEGV" in " ".join(causes()))
    tend_until(local, victim)
    hung = victims[-1]
    os.kill(hung, signal.SIGSTOP)
    tend_until(local, lambda: hung not in local.pids)
    wait_until_done(local, lambda: False)
    assert {row.state for row in rows(database)} == {"done"}


def test_an_item_that_kills_three_workers_is_set_aside_and_the_study_goes_on(
    supervised, monkeypatch
):
    monkeypatch.setenv(FATAL_SLOT, "scratch/1")
    local, database = supervised(n_workers=1, trials=3)
    wait_until_done(local, lambda: False)
    aside = [row for row in rows(database) if row.state == "set_aside"]
    assert [(row.kind, row.cause, row.total_failures) for row in aside] == [
        ("trial", "set_aside", 3)
    ]
    assert "SIGKILL" in aside[0].detail
    _, fatal, _ = trials(database)
    assert fatal.state.name == "FAIL"
    assert "SIGKILL" in fatal.user_attrs[RUN]["detail"]
    assert {row.state for row in rows(database) if row is not aside[0]} == {"done", "set_aside"}


def test_workers_that_die_at_once_end_the_run_with_what_they_said(supervised):
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    local, _ = supervised(command=command)
    with pytest.raises(StorageError, match="no such thing"):
        tend_until(local, lambda: False)


def test_a_user_error_of_a_worker_ends_the_run_with_its_text(supervised):
    text = "import sys; print('error: mend this'); sys.exit(2)"
    local, _ = supervised(command=[sys.executable, "-c", text])
    with pytest.raises(UserError, match=r"^mend this$"):
        tend_until(local, lambda: False)


def test_workers_that_are_asked_to_stop_save_and_leave_while_they_train(supervised):
    local, database = supervised(trials=2, lease=3, epochs_high=2000, published_epochs=2000)
    tend_until(local, lambda: sum(bool(w.item) for w in workers_seen(database, "tiny")) == 2)
    assert request_stop(database, "tiny", host="elsewhere") == 0
    assert request_stop(database, "tiny", host=None) == 2
    wait_until_done(local, lambda: False)
    assert {row.state for row in rows(database)} == {"free"}
    assert sum(row.total_failures for row in rows(database)) == 0


def test_a_worker_that_does_not_leave_in_the_grace_time_is_killed_and_the_cause_is_kept(supervised):
    local, database = supervised(n_workers=1, trials=1, epochs_high=2000, published_epochs=2000)
    local.grace_seconds = 1.0
    tend_until(local, lambda: any(worker.item for worker in workers_seen(database, "tiny")))
    freeze(local.pids[0], database)
    local.stop()
    assert local.pids == []
    assert workers_seen(database, "tiny") == []
    queue = inspect_queue(database, "tiny")
    assert queue.leases == []
    assert [failure.cause for failure in queue.failures] == ["worker killed: did not leave in time"]


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    return FakeNvidiaSmi(tmp_path / "bin", monkeypatch)


def test_shares_of_gpus_are_dealt_out_in_turn(nvidia_smi):
    nvidia_smi.show((0, "GPU-a", 80_000), (1, "GPU-b", 70_000))
    slots = host_slots(chosen_gpus(None), Resources(gpus_per_worker=0.5), n_cores=8)
    assert [slot.gpu.uuid for slot in slots] == ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]


def test_a_worker_waits_for_free_memory_and_then_sees_only_its_own_gpu(
    nvidia_smi, supervised, tmp_path
):
    nvidia_smi.show((0, "GPU-a", 500))
    seen = tmp_path / "seen"
    write = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(json.dumps(dict({})))"
    command = [sys.executable, "-c", f"import json; {write.format('os.environ')}", str(seen)]
    local, _ = supervised(command=command, n_workers=1, gpus=1)
    assert local.poll()
    assert local.pids == []
    nvidia_smi.show((0, "GPU-a", 50_000))
    local.slots[0].start_at = 0.0
    wait_until_done(local, lambda: False)
    environment = json.loads(seen.read_text())
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert environment["OMP_NUM_THREADS"] == "1"


SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_workers_that_start_reserve_the_memory_that_they_have_not_taken_yet(nvidia_smi, supervised):
    nvidia_smi.show((0, "GPU-a", 5_000))
    local, _ = supervised(command=SLEEP, n_workers=4, gpus=0.25)
    local.poll()
    assert len(local.pids) == 2


def test_a_driver_that_fails_for_a_while_stops_no_worker(nvidia_smi, supervised):
    nvidia_smi.show((0, "GPU-a", 5_000), (1, "GPU-b", 500))
    local, _ = supervised(command=SLEEP, n_workers=2, gpus=1)
    (running,) = local.pids
    nvidia_smi.say("Driver/library version mismatch", exit_code=18)
    local.slots[1].start_at = 0.0
    assert local.poll()
    assert local.pids == [running]


def test_a_slot_that_waits_for_memory_ends_with_the_study(nvidia_smi, supervised):
    nvidia_smi.show((0, "GPU-a", 500))
    local, database = supervised(command=SLEEP, n_workers=1, gpus=1)
    assert local.poll()
    with database.transaction() as connection:
        connection.execute(update(work_item).values(state="done"))
    local.slots[0].start_at = 0.0
    assert not local.poll()
