"""A final fit that is done again by another worker: scored once, whatever happened in between."""

from dataclasses import replace

import pytest
import torch
from sqlalchemy import select

from ecgopt.analysis.evidence_store import load_evidence
from ecgopt.analysis.final import FinalJob
from ecgopt.analysis.gates import check_gates
from ecgopt.analysis.sealed_test import SealedTest
from ecgopt.errors import LeaseLost
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

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class Bench:
    """A comparison whose trials are done and whose final fits are done by hand."""

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
        }

    def claim(self, owner):
        return items.claim(self.database, self.spec.name, owner, lease_seconds=60)

    def run(self, claim):
        with Lease(self.database, claim, lease_seconds=60) as lease:
            return self.jobs[claim.kind].run(lease, lambda: False)

    def first_final(self, owner):
        """Do everything before the first final fit and return its claim."""
        while (claim := self.claim(owner)).kind != "final":
            self.close(claim, self.run(claim))
        return claim

    def close(self, claim, end):
        items.finish(self.database, claim, cause=end.cause, result=end.result)

    def lose(self, owner):
        """Let `owner` be found dead, as the parent of a killed worker does."""
        items.release_all_of(self.database, [owner])

    def log(self):
        with self.database.transaction() as connection:
            rows = connection.execute(select(sealed_opening).order_by(sealed_opening.c.id)).all()
        return [(row.worker, row.reused) for row in rows]

    def evidence(self):
        return load_evidence(self.spec, self.place, self.url)


@pytest.fixture
def bench(study_file, tmp_path):
    made = Bench(study_file(trials=2, published_epochs=2), tmp_path / "ws")
    yield made
    made.database.engine.dispose()


def opened_once(evidence):
    (gate,) = [
        gate
        for gate in check_gates(evidence, [], lambda final: None)
        if gate.name == "the sealed test was scored once per winner"
    ]
    return gate


def test_a_worker_lost_after_scoring_leaves_its_result_to_the_next(bench):
    lost = bench.first_final("lost")
    first = bench.run(lost)
    bench.lose("lost")  # the item was never closed
    claim = bench.claim("next")
    assert claim.key == lost.key
    second = bench.run(claim)
    bench.close(claim, second)
    assert second.result == first.result
    assert bench.log() == [("lost", 0), ("next", 1)]
    gate = opened_once(bench.evidence())
    assert gate.state == "passed"
    assert "1 more returned the stored result" in gate.finding


def test_a_stored_result_is_returned_without_training(bench, monkeypatch):
    claim = bench.first_final("lost")
    bench.run(claim)
    bench.lose("lost")

    def refuse(*_, **__):
        raise AssertionError("trained or opened again")

    monkeypatch.setattr(ArmRuns, "build", refuse)
    monkeypatch.setattr(SealedTest, "open", refuse)
    assert bench.run(bench.claim("next")).cause == "done"


def test_an_opening_that_broke_off_before_its_score_was_stored_is_told_apart(bench):
    lost = bench.first_final("lost")
    SealedTest(bench.database, bench.final_job.arms.data).open("down", lost)
    bench.lose("lost")
    claim = bench.claim("next")
    bench.close(claim, bench.run(claim))
    assert bench.log() == [("lost", 0), ("next", 0)]
    evidence = bench.evidence()
    assert [opening.is_interrupted for opening in evidence.openings] == [True, False]
    gate = opened_once(evidence)
    assert gate.state == "passed"
    assert "1 broke off before a result was stored" in gate.finding


def test_a_worker_that_lost_its_item_can_neither_open_nor_reuse_nor_store(bench):
    lost = bench.first_final("lost")
    sealed = SealedTest(bench.database, bench.final_job.arms.data)
    opened = sealed.open("down", lost)
    bench.lose("lost")
    for write in (
        lambda: sealed.open("down", lost),
        lambda: sealed.reuse(lost, "winner"),
        lambda: sealed.store(lost, "winner", opened, {}),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert bench.log() == [("lost", 0)]


def test_another_winner_of_the_same_item_is_scored_anew(bench):
    claim = bench.first_final("first")
    bench.run(claim)
    bench.lose("first")
    again = bench.claim("second")
    # A fresh seed stands for any change of what is trained, such as the winner of more trials.
    other = replace(again, payload={**again.payload, "seed": again.payload["seed"] + 1})
    bench.close(again, bench.run(other))
    assert bench.log() == [("first", 0), ("second", 0)]
    assert opened_once(bench.evidence()).state == "passed"
