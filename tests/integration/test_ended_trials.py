"""What is left of a trial that has ended, through the real job on a real database."""

import os

import pytest
from work_bench import Bench

from ecgopt.causes import Cause
from ecgopt.jobs.job import StopRequested
from ecgopt.jobs.resumption import ResumableEpochs
from ecgopt.queue.lease import Lease

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def bench(study_file, tmp_path):
    """Return a function that begins a comparison of two arms without pre-training."""
    made = []

    def begin(more_budget=""):
        study = study_file(regimes='["scratch", "scratch_twin"]', own="", trials=2)
        study.write_text(study.read_text().replace("[budget]\n", f"[budget]\n{more_budget}\n"))
        made.append(Bench(study, tmp_path / "ws"))
        return made[-1]

    yield begin
    for each in made:
        each.database.engine.dispose()


def checkpoints(bench):
    return list((bench.place.root / "running").rglob("*.safetensors"))


def test_a_trial_over_its_time_limit_ends_after_that_epoch_and_is_counted_as_such(bench):
    limited = bench("trial_seconds = 1e-6")
    claim = limited.first("worker", "trial/")
    end = limited.run(claim)
    limited.close(claim, end)
    assert (end.cause, end.result["n_epochs"]) == ("timed_out", 1)
    (ended,) = [t for s in limited.evidence().studies for t in s.trials if t.cause]
    assert (ended.state, ended.cause) == ("pruned", "timed_out")
    assert checkpoints(limited) == []


def test_the_checkpoints_of_a_trial_are_gone_when_it_has_ended(bench, monkeypatch):
    begun = bench()
    seen = []
    discard = ResumableEpochs.discard
    monkeypatch.setattr(
        ResumableEpochs, "discard", lambda self: (seen.extend(checkpoints(begun)), discard(self))
    )
    begun.run(begun.first("worker", "trial/"))
    assert len(seen) == 2
    assert checkpoints(begun) == []


def test_a_worker_that_dies_before_it_tidies_up_leaves_that_to_the_next(bench, monkeypatch):
    begun = bench()
    claim = begun.first("dying", "trial/")
    with monkeypatch.context() as dying:
        dying.setattr(ResumableEpochs, "discard", lambda self: None)
        first = begun.run(claim)
    begun.lose("dying")
    assert len(checkpoints(begun)) == 2
    again = begun.claim("next")
    assert again.key == claim.key
    assert begun.run(again).result == first.result
    assert checkpoints(begun) == []


@pytest.mark.parametrize("kind", ["trial", "final"])
def test_nothing_is_left_of_an_item_that_is_set_aside(bench, kind):
    begun = bench()
    claim = begun.first("worker", f"{kind}/")
    with pytest.raises(StopRequested):
        begun.run(claim, stop=lambda: True)
    assert len(checkpoints(begun)) == 1
    with Lease(begun.database, claim, lease_seconds=60) as lease:
        begun.jobs[kind].give_up(lease, Cause.SET_ASIDE, "lost 3 workers without progress")
    assert checkpoints(begun) == []


def test_a_comparison_is_read_where_nothing_can_be_written(bench, monkeypatch):
    begun = bench()
    begun.close(claim := begun.first("worker", "trial/"), begun.run(claim))
    expected = begun.evidence()
    begun.database.engine.dispose()
    real = os.access
    monkeypatch.setattr(
        "os.access", lambda path, mode: path != begun.place.root and real(path, mode)
    )
    before = sorted(path.name for path in begun.place.root.iterdir())
    assert begun.evidence() == expected
    assert sorted(path.name for path in begun.place.root.iterdir()) == before
    assert not begun.place.sqlite_file.with_name("ecgopt.sqlite3-wal").exists()
