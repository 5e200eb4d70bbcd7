"""What a worker does with an item that fails with it."""

import pytest
import torch
from sqlalchemy import select

from ecgopt.causes import Cause
from ecgopt.database.engine import open_database
from ecgopt.database.tables import create_tables, work_item
from ecgopt.errors import CheckpointError, DataError, MachineError, UserError
from ecgopt.jobs.faults import Fault, fault_of
from ecgopt.jobs.job import ItemEnd
from ecgopt.jobs.worker import Worker, WorkerSettings
from ecgopt.queue import items
from ecgopt.queue.heartbeats import workers_seen
from ecgopt.queue.items import NewItem


class Scripted:
    """Raises the next error of its script, or ends the item where that is None."""

    def __init__(self, *script):
        self.script = list(script)
        self.given_up = []

    def run(self, lease, stop):
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        return ItemEnd(cause=Cause.DONE, result={})

    def give_up(self, lease, cause, reason):
        self.given_up.append((lease.claim.key, cause))

    def reopen_missing(self, claim):
        return False


@pytest.fixture
def database(tmp_path):
    opened = open_database(f"sqlite:///{tmp_path}/db.sqlite3")
    create_tables(opened)
    yield opened
    opened.engine.dispose()


def worker_on(database, job, n_items):
    new = [
        NewItem(kind="trial", key=f"k{number}", group="g", needs=None, priority=number)
        for number in range(n_items)
    ]
    with database.transaction() as connection:
        items.add_missing(connection, "c", new)
    settings = WorkerSettings(comparison="c", retry_seconds=0.01, poll_seconds=0.01)
    return Worker(database=database, jobs={"trial": job}, settings=settings)


def ends(database):
    with database.transaction() as connection:
        rows = connection.execute(select(work_item).order_by(work_item.c.id)).all()
    return [(row.state, row.cause, row.total_failures) for row in rows]


def test_a_fault_that_passes_costs_nothing(database):
    job = Scripted(FileNotFoundError("no folder"))
    assert worker_on(database, job, 2).work() == 2
    assert ends(database) == [("done", "done", 1), ("done", "done", 0)]


def test_a_worker_whose_items_fail_one_after_another_stops_and_says_why(database):
    worker = worker_on(database, Scripted(*(OSError("no disk") for _ in range(9))), 9)
    with pytest.raises(MachineError, match=r"failures one after another.*: OSError: no disk"):
        worker.work()
    (seen,) = workers_seen(database, "c")
    assert (seen.state, seen.owner) == ("failed", worker.owner)
    assert "OSError: no disk" in seen.reason
    assert {state for state, *_ in ends(database)} == {"free"}
    assert sum(failures for *_, failures in ends(database)) <= 4


def test_a_device_that_is_lost_stops_its_worker_at_the_first_error(database):
    worker = worker_on(database, Scripted(RuntimeError("CUDA error: launch failure")), 2)
    with pytest.raises(MachineError, match="CUDA error"):
        worker.work()


def test_a_trial_that_machines_failed_with_is_set_aside_without_being_spent(database):
    job = Scripted(*[OSError("no disk")] * 3)
    worker_on(database, job, 1).work()
    assert ends(database) == [("set_aside", "machine", 2)]
    assert job.given_up == []


def test_an_error_of_the_program_is_given_up_after_the_last_attempt(database):
    job = Scripted(*[ValueError("a bug")] * 3)
    worker_on(database, job, 1).work()
    assert ends(database) == [("set_aside", "error", 2)]
    assert job.given_up == [("k0", Cause.ERROR)]


def test_an_error_of_the_item_is_not_tried_again(database):
    job = Scripted(UserError("a winner needs a complete trial"))
    worker_on(database, job, 1).work()
    assert ends(database) == [("set_aside", "error", 0)]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (FileNotFoundError("x"), Fault.MACHINE),
        (PermissionError("x"), Fault.MACHINE),
        (ImportError("x"), Fault.MACHINE),
        (DataError("x"), Fault.MACHINE),
        (CheckpointError("x"), Fault.MACHINE),
        (RuntimeError("CUDA error: device-side assert triggered"), Fault.MACHINE),
        (RuntimeError("shapes do not match"), Fault.PROGRAM),
        (KeyError("x"), Fault.PROGRAM),
        (UserError("x"), Fault.ITEM),
        (torch.OutOfMemoryError("x"), Fault.MEMORY),
        (MemoryError(), Fault.MEMORY),
    ],
)
def test_an_error_is_sorted_by_whose_fault_it_is(error, fault):
    assert fault_of(error) is fault
