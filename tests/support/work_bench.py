"""Doing work items one by one, with the real jobs on a real database."""

import torch
from sqlalchemy import select

from ecgopt.comparison.evidence import load_evidence
from ecgopt.comparison.opening import open_comparison
from ecgopt.database.engine import open_database
from ecgopt.database.tables import sealed_opening
from ecgopt.jobs.registry import handlers
from ecgopt.jobs.runs import ArmRuns
from ecgopt.queue import items
from ecgopt.queue.lease import Lease
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace


class Bench:
    """A comparison whose work items are claimed, done and lost by hand."""

    def __init__(self, study, folder):
        place = Workspace(folder)
        self.url = f"sqlite:///{place.sqlite_file}"
        place.root.mkdir(parents=True, exist_ok=True)
        opened = open_comparison(load_spec(study), open_database(self.url), place)
        self.database, self.spec, self.place = opened.database, opened.spec, place
        arms = ArmRuns(opened.spec, place, opened.data, torch.device("cpu"), opened.folder)
        self.jobs = handlers(opened.database, arms)
        self.final_job = self.jobs["final"]

    def claim(self, owner):
        return items.claim(self.database, self.spec.name, owner, lease_seconds=60)

    def run(self, claim, stop=lambda: False):
        with Lease(self.database, claim, lease_seconds=60) as lease:
            return self.jobs[claim.kind].run(lease, stop)

    def first(self, owner, *parts):
        """Do everything before the first item whose key has all `parts`, and return its claim."""
        while True:
            claim = self.claim(owner)
            assert claim is not None, f"no item with {parts}"
            if all(part in claim.key for part in parts):
                return claim
            self.close(claim, self.run(claim))

    def first_final(self, owner):
        """Do everything before the first final fit and return its claim."""
        return self.first(owner, "final/")

    def close(self, claim, end):
        items.finish(self.database, claim, cause=end.cause, result=end.result)

    def lose(self, owner):
        """Let `owner` be found dead, as the parent of a killed worker does."""
        items.release_dead_workers(self.database, [owner], cause="worker killed")

    def log(self):
        with self.database.transaction() as connection:
            rows = connection.execute(select(sealed_opening).order_by(sealed_opening.c.id)).all()
        return [(row.worker, row.reused) for row in rows]

    def evidence(self):
        return load_evidence(self.spec, self.place, self.url)
