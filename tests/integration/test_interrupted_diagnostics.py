"""Diagnostics and test curves whose worker leaves in the middle end as if nobody had left."""

import pytest
from work_bench import Bench

from ecgopt.jobs.job import StopRequested
from ecgopt.queue import items

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

DIAGNOSTICS = """
[diagnostics]
audit = 1
learning_rates = 1
test_curve = true
"""
EPOCHS = 6


@pytest.fixture
def bench(study_file, tmp_path):
    study = study_file(trials=2, epochs_high=2, published_epochs=EPOCHS)
    study.write_text(
        # Trial 0, the published recipe, must lie in the range of epochs.
        study.read_text().replace(
            "epochs = { low = 2, high = 2 }", "epochs = { low = 2, high = 6 }"
        )
        + DIAGNOSTICS
    )
    made = Bench(study, tmp_path / "ws")
    yield made
    made.database.engine.dispose()


def leave_after(n_epochs):
    """Return a `stop` that becomes true after `n_epochs`."""
    asked = iter([False] * (n_epochs - 1))
    return lambda: next(asked, True)


def interrupted(bench, claim):
    """Leave the item after three epochs, as after a SIGTERM, and let another worker end it."""
    with pytest.raises(StopRequested):
        bench.run(claim, leave_after(3))
    items.release(bench.database, claim)
    again = bench.claim("next")
    assert again.key == claim.key
    return again, bench.run(again)


def whole(bench, claim):
    """Do the same item in one go, as a worker that was lost just before it could close it."""
    end = bench.run(claim)
    bench.lose(claim.owner)
    return end


@pytest.mark.parametrize("parts", [("rate/",), ("check/", "shuffled")], ids=["rate", "shuffled"])
def test_a_diagnostic_goes_on_where_it_was_left_and_ends_with_the_same_bits(bench, parts):
    expected = whole(bench, bench.first("first", *parts)).result
    _, end = interrupted(bench, bench.claim("second"))
    same = ("value", "values", "reports", "n_epochs", "n_samples", "details", "parameters")
    assert {k: end.result[k] for k in same if k in end.result} == {
        k: expected[k] for k in same if k in expected
    }


def test_a_test_curve_goes_on_where_it_was_left(bench):
    claim = bench.first("first", "final/", "/published/")
    again, end = interrupted(bench, claim)
    bench.close(again, end)
    assert len(end.result["test_curve"]) == EPOCHS
    assert end.result["test_curve"][-1] == end.result["metrics"]["macro_auroc"]
    openings = [o for o in bench.evidence().openings if o.role == "published"]
    assert [opening.is_interrupted for opening in openings] == [True, False]


def test_fewer_pruned_trials_than_audits_leave_nothing_to_do(bench):
    claim = bench.first("first", "audit/")
    end = bench.run(claim)
    assert end.cause == "done"
    assert end.result == {}
    bench.close(claim, end)
    assert all(t.recipe != "audit" for s in bench.evidence().studies for t in s.trials)
