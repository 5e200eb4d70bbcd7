"""Trials that pause at rungs, through real training: the best continue, and nothing is lost."""

import pytest
from work_bench import Bench

from ecgopt.database.tables import work_item
from ecgopt.jobs.job import PausedAtRung
from ecgopt.queue import items

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

N_TRIALS = 5
BRACKET = (1, 2, 3, 4)
HALVING = 'true\nkind = "halving"\nbracket = 4\npause_at = [3, 6]'


def study_of(study_file, folder, pruning, *, audit=0):
    """Do all the trials of a study, and its audits, by two workers in turns."""
    study = study_file(
        regimes='["scratch", "scratch_twin"]', own="", trials=N_TRIALS, sampler="qmc",
        pruning=pruning, epochs_low=10, epochs_high=12, published_epochs=10,
    )  # fmt: skip
    study.write_text(f"{study.read_text()}\n[diagnostics]\naudit = {audit}\n")
    bench = Bench(study, folder)
    with bench.database.transaction() as connection:
        other = work_item.c.key.contains("twin") | work_item.c.kind.not_in(("trial", "audit"))
        connection.execute(work_item.delete().where(other))
    pauses = []
    try:
        while claim := bench.claim(f"worker{len(pauses) % 2}"):
            try:
                bench.close(claim, bench.run(claim))
            except PausedAtRung as paused:
                items.release(bench.database, claim, rung=paused.rung)
                pauses.append((claim.key, paused.rung))
        running = list((bench.place.root / "running").rglob("*.safetensors"))
        (study,) = (s for s in bench.evidence().studies if s.regime == "scratch")
    finally:
        bench.database.engine.dispose()
    assert running == []
    audits = [trial for trial in study.trials if trial.recipe == "audit"]
    return {trial.number: trial for trial in study.trials if trial not in audits}, audits


def survivors(whole):
    """Return the slots that come to each rung, from the scores of trials that never paused."""
    at_three = BRACKET
    at_six = sorted(at_three, key=lambda slot: -whole[slot].reports[3])[:2]
    to_the_end = sorted(at_six, key=lambda slot: -whole[slot].reports[6])[:1]
    return {3: at_three, 6: at_six, 10: to_the_end}


def test_the_best_of_each_bracket_continue_to_the_scores_of_trials_that_never_paused(
    study_file, tmp_path
):
    whole, _ = study_of(study_file, tmp_path / "whole", "false")
    halved, audits = study_of(study_file, tmp_path / "halved", HALVING, audit=1)
    come = survivors(whole)
    for slot, trial in halved.items():
        expected = whole[slot]
        assert trial.parameters == expected.parameters
        if slot == 0 or slot in come[10]:
            assert (trial.state, trial.value) == ("complete", expected.value)
            assert trial.reports == expected.reports
            assert trial.n_samples == expected.n_samples
        else:
            last = 6 if slot in come[6] else 3
            assert (trial.state, trial.cause) == ("pruned", "pruned")
            assert trial.details["detail"] == f"at step {last} of 10"
            assert trial.reports == {
                step: value for step, value in expected.reports.items() if step <= last
            }
            assert trial.n_epochs < expected.n_epochs
            assert trial.n_samples * expected.n_epochs == expected.n_samples * trial.n_epochs
    # The audit trains the best of those that were pruned to its end.
    best = max((t for t in halved.values() if t.state == "pruned"), key=lambda trial: trial.value)
    assert [audit.value for audit in audits] == [whole[best.number].value]
