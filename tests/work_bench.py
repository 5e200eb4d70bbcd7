"""Doing work items one by one, with the real jobs on a real database."""

import torch
from sqlalchemy import select

from ecgopt.analysis.diagnostics import diagnostic_handlers
from ecgopt.analysis.evidence_store import load_evidence
from ecgopt.analysis.final import FinalJob
from ecgopt.tuning.arm import ArmRuns
from ecgopt.tuning.storage import open_database
from ecgopt.tuning.study_file import load_spec
from ecgopt.tuning.tables import sealed_opening
from ecgopt.tuning.workspace import Workspace
from ecgopt.workers import items
from ecgopt.workers.jobs import TrialJob
from ecgopt.workers.lease import Lease
from ecgopt.workers.pretraining import PretrainJob
from ecgopt.workers.setup import open_comparison


class Bench:
    """A comparison whose work items are claimed, done and lost by hand."""

    def __init__(self, study, folder):
        place = Workspace(folder)
        self.url = f"sqlite:///{place.sqlite_file}"
        place.root.mkdir(parents=True, exist_ok=True)
        opened = open_comparison(load_spec(study), open_database(self.url), place)
        self.database, self.spec, self.place = opened.database, opened.spec, place
        arms = ArmRuns(opened.spec, place, opened.data, torch.device("cpu"))
        self.final_job = FinalJob(opened.database, arms)
        self.jobs = {
            "pretrain": PretrainJob(opened.database, arms),
            "trial": TrialJob(opened.database, arms),
            "final": self.final_job,
            **diagnostic_handlers(opened.database, arms),
        }

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
        items.release_all_of(self.database, [owner], cause="worker killed")

    def log(self):
        with self.database.transaction() as connection:
            rows = connection.execute(select(sealed_opening).order_by(sealed_opening.c.id)).all()
        return [(row.worker, row.reused) for row in rows]

    def evidence(self):
        return load_evidence(self.spec, self.place, self.url)
