"""A final fit that is done again by another worker: scored once, whatever happened in between."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from work_bench import Bench

from ecgopt.analysis.gates import check_gates
from ecgopt.analysis.readings import Readings
from ecgopt.errors import LeaseLost
from ecgopt.jobs.final import SealedTest
from ecgopt.jobs.runs import ArmRuns

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def bench(study_file, tmp_path):
    made = Bench(study_file(trials=2, published_epochs=2), tmp_path / "ws")
    yield made
    made.database.engine.dispose()


def opened_once(evidence):
    """Return the gate on openings, which needs no predictions."""
    finals = tuple(replace(final, predictions=None) for final in evidence.finals)
    without = replace(evidence, finals=finals)
    (gate,) = [
        gate
        for gate in check_gates(without, [], Readings(Path(), 5))
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
    assert second.result == json.loads(json.dumps(first.result))
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
