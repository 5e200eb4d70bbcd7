"""Pausing, extending and deleting a study, with real workers on a real database."""

import json
import re
import subprocess
import sys

import pytest
from processes import ecgopt, start_worker
from sqlalchemy import select
from tiny_study import begin, tiny_study

from ecgopt.analysis.arms import budget_trials
from ecgopt.analysis.evidence_store import load_evidence
from ecgopt.cli.steering import enqueue
from ecgopt.errors import UserError
from ecgopt.tuning.study_file import load_spec
from ecgopt.tuning.tables import work_item
from ecgopt.tuning.workspace import Workspace
from ecgopt.workers import items

RUN_OPTIONS = ("--workers", 1, "--workspace")


@pytest.fixture
def begun(study_file, tmp_path):
    study = study_file()
    return study, begin(study, tmp_path / "ws")


def steer(verb, study, opened, *arguments, text=None):
    return subprocess.run(
        [sys.executable, "-m", "ecgopt", "study", verb, str(study), *map(str, arguments),
         "--workspace", str(opened.workspace.root)],
        input=text, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def claim(opened):
    return items.claim(opened.database, opened.spec.name, "test:1", lease_seconds=60)


def left(opened):
    return items.unfinished(opened.database, opened.spec.name)


def test_a_paused_study_gives_out_nothing_until_it_is_resumed(begun):
    study, opened = begun
    assert steer("pause", study, opened).returncode == 0
    assert claim(opened) is None
    assert "paused" in ecgopt("status", study, "--workspace", opened.workspace.root).stdout
    assert steer("resume", study, opened).returncode == 0
    assert claim(opened) is not None


def test_a_held_item_is_finished_during_a_pause(begun):
    study, opened = begun
    before, held = left(opened), claim(opened)
    steer("pause", study, opened)
    items.renew(opened.database, held, lease_seconds=60, progress=1)
    items.finish(opened.database, held, cause="done", result={})
    assert left(opened) == before - 1


def test_a_study_with_a_held_item_is_not_deleted(begun):
    study, opened = begun
    before, _ = left(opened), claim(opened)
    refused = steer("delete", study, opened, "--yes")
    assert refused.returncode == 2
    assert "1 items are held" in refused.stderr
    assert left(opened) == before


def test_deleting_asks_for_the_name_and_leaves_other_studies(study_file, begun, tmp_path):
    study, opened = begun
    other = tmp_path / "other.toml"
    other.write_text(tiny_study().replace('name = "tiny"', 'name = "tiny_too"'))
    kept = begin(other, tmp_path / "ws")
    before = left(kept)
    assert steer("delete", study, opened, text="tyni\n").returncode == 2
    assert steer("delete", study, opened, text="tiny\n").returncode == 0
    names = {found.study_name for found in opened.database.optuna.get_all_studies()}
    assert {name.split("/")[0] for name in names} == {"tiny_too"}
    assert left(opened) == 0
    assert left(kept) == before


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Run a study to its end, extend it, and run it to its end again with its unchanged file."""
    folder = tmp_path_factory.mktemp("extended")
    study, workspace = folder / "study.toml", folder / "ws"
    study.write_text(tiny_study())
    begin(study, workspace)
    values = ("--set", "learning_rate=2e-3", "epochs=3", "frozen_stages=5", "--label", "mine")
    asked = ("enqueue", study, "--regime", "fine_tune", *values, "--workspace", workspace)
    assert ecgopt("study", *asked).returncode == 0
    run = ("run", study, *RUN_OPTIONS, workspace, "--out", folder / "out")
    assert ecgopt(*run).returncode == 0
    found = ecgopt("study", "extend", study, "--trials", 6, "--workspace", workspace)
    assert found.returncode == 0, found.stderr
    workers = [start_worker(study, workspace) for _ in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    again = ecgopt(*run)
    assert again.returncode == 0, again.stderr
    url = f"sqlite:///{workspace}/ecgopt.sqlite3"
    return folder, load_evidence(load_spec(study), Workspace(workspace), url)


def test_an_extension_is_spent_exactly_and_by_all_arms(extended):
    _, evidence = extended
    assert evidence.comparison.budget.trials == 6
    paid = [budget_trials(study.trials) for study in evidence.studies]
    assert [[trial.number for trial in trials] for trials in paid] == [[*range(6)]] * 2
    assert {trial.state for trials in paid for trial in trials} <= {"complete", "pruned"}


def test_an_enqueued_configuration_is_trained_beside_the_budget(extended):
    _, evidence = extended
    beside = [t for study in evidence.studies for t in study.trials if t.recipe == "enqueued"]
    (own,) = beside
    assert own.state == "complete"
    assert own.n_epochs == 3
    assert own.parameters == {"learning_rate": 2e-3, "epochs": 3, "frozen_stages": 5}
    assert own.details["label"] == "mine"
    assert all(final.parameters != own.parameters for final in evidence.finals)


@pytest.mark.parametrize(
    ("regime", "setting", "reason"),
    [
        ("scratch", "frozen_stages=1", "must be a parameter of scratch"),
        ("fine_tune", "frozen_stages=9", "`0 <= frozen_stages <= 5` must hold"),
        ("fine_tune", "learning_rte=1", "did you mean 'learning_rate'?"),
        ("fine_tune", "epochs=2.5", "must be a whole number"),
        ("fine_tune", "epochs", "must look like"),
        ("finetune", "epochs=2", "must be one of scratch, fine_tune"),
    ],
)
def test_an_enqueued_configuration_without_a_meaning_is_refused(begun, regime, setting, reason):
    study, opened = begun
    before = left(opened)
    with pytest.raises(UserError, match=re.escape(reason)):
        enqueue(study, regime=regime, values=(setting,), workspace=opened.workspace.root)
    assert left(opened) == before


def test_the_report_says_that_the_budget_was_extended_after_the_test_was_opened(extended):
    folder, evidence = extended
    (said,) = evidence.comparison.extensions
    assert said.startswith("4 → 6 trials of every study")
    assert said.endswith("after 4 openings of the sealed test")
    assert said in (folder / "out" / "report.html").read_text()


def test_a_winner_that_stays_keeps_its_scores_and_a_new_one_is_scored_once(extended):
    _, evidence = extended
    scored = [opening for opening in evidence.openings if not opening.reused]
    stored = [opening for opening in evidence.openings if opening.reused]
    new_winners = sum(f.role == "tuned" and f.trial_number >= 4 for f in evidence.finals)
    assert len(evidence.finals) == 4
    assert len(scored) == 4 + new_winners
    assert len(stored) == 2 - new_winners


def test_a_smaller_budget_is_refused(extended):
    folder, _ = extended
    arguments = (folder / "study.toml", "--trials", 5, "--workspace", folder / "ws")
    refused = ecgopt("study", "extend", *arguments)
    assert refused.returncode == 2
    assert "`trials > 6` must hold" in refused.stderr


def test_a_file_brought_up_to_date_joins_and_another_number_does_not(extended):
    folder, _ = extended
    for trials, code in ((6, 0), (5, 2)):
        study = folder / f"with{trials}.toml"
        study.write_text(tiny_study(trials=trials))
        run = ecgopt("run", study, *RUN_OPTIONS, folder / "ws", "--out", folder / "out")
        assert run.returncode == code, run.stderr


def test_a_running_final_fit_is_taken_back_by_an_extension(begun):
    study, opened = begun
    name = opened.spec.name
    with opened.database.transaction() as connection:
        connection.execute(
            work_item.update().where(work_item.c.kind != "final").values(state="done")
        )
    held = claim(opened)
    assert held.kind == "final"
    steer("extend", study, opened, "--trials", 5)
    with opened.database.transaction() as connection:
        query = select(work_item.c.kind, work_item.c.payload, work_item.c.state).where(
            work_item.c.comparison == name, work_item.c.key == held.key
        )
        row = connection.execute(query).one()
    tuned = json.loads(row.payload)["role"] == "tuned"
    assert row.state == ("free" if tuned else "held")
    assert claim(opened).kind == "trial"
