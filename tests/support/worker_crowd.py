"""A crowd of workers: forked from one warm process, killed, frozen and replaced."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import scripted_worker
from sqlalchemy import func, select

from ecgopt.database.tables import work_item
from ecgopt.database.tables import worker as worker_row

# Importing torch takes seconds; a fork server does it once for all workers.
_FORKS = multiprocessing.get_context("forkserver")
# The last of them is what the first step of an optimiser imports.
_FORKS.set_forkserver_preload(["scripted_worker", "training_worker", "torch._dynamo"])


class Crowd:
    """Workers of one study, scripted unless told otherwise; use as a context."""

    def __init__(self, study, url, folder, database, *, main=scripted_worker.main, **options):
        self.database = database
        self._main = main
        self._arguments = (str(study), url, str(folder / "ws"))
        self._options = options
        self._folder = folder
        self._started = 0
        self.members = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            if member.is_alive():
                os.kill(member.pid, signal.SIGKILL)
            member.join()
            member.close()

    def add(self, count=1):
        for _ in range(count):
            self._started += 1
            log = self._folder / f"worker-{self._started}.log"
            arguments = (*self._arguments, str(log), self._options)
            member = _FORKS.Process(target=self._main, args=arguments, daemon=True)
            member.start()
            self.members.append(member)

    def kill(self, member):
        """Kill a worker and put another in its place."""
        os.kill(member.pid, signal.SIGKILL)
        member.join()
        member.close()
        self.members.remove(member)
        self.add()

    def holder(self, fits=lambda item: True):
        """Return a worker that holds a trial now, and the trial's item row; None if none does.

        The one that claimed last, of those whose item fits: it will hold it longest.
        """
        query = (
            select(worker_row.c.pid, work_item)
            .join(worker_row, worker_row.c.owner == work_item.c.owner)
            .where(work_item.c.state == "held", work_item.c.kind == "trial")
            .order_by(work_item.c.claimed_at.desc())
        )
        alive = {member.pid: member for member in self.members if member.is_alive()}
        with self.database.transaction() as connection:
            rows = connection.execute(query).all()
        held = ((alive[row.pid], row) for row in rows if row.pid in alive and fits(row))
        return next(held, None)

    def n_done(self):
        query = select(func.count()).where(
            work_item.c.kind == "trial", work_item.c.state.in_(("done", "set_aside"))
        )
        with self.database.transaction() as connection:
            return connection.execute(query).scalar_one()

    def fence(self, item_id):
        with self.database.transaction() as connection:
            query = select(work_item.c.fence).where(work_item.c.id == item_id)
            return connection.execute(query).scalar_one()

    def holder_of(self, item_id):
        """Return the owner of an item while it is held."""
        query = select(work_item.c.owner).where(
            work_item.c.id == item_id, work_item.c.state == "held"
        )
        with self.database.transaction() as connection:
            return connection.execute(query).scalar()

    def wait_until(self, condition, seconds=240):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "nothing came of it"
            time.sleep(0.05)
        return found

    def finish(self, seconds=300):
        """Wait until every worker has found nothing left to do."""
        for member in self.members:
            member.join(seconds)
            assert member.exitcode == 0, Path(self._folder / "worker-1.log").read_text()[-2000:]

    def logs(self):
        return "".join(path.read_text() for path in self._folder.glob("worker-*.log"))
