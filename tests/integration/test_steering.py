"""Pausing, extending and deleting a study, with real workers on a real database."""

import io
import json
import re
import shutil
from collections import Counter

import optuna
import pytest
from processes import ecgopt
from sqlalchemy import select, update
from tiny_study import begin, tiny_study

from ecgopt.analysis.arms import budget_trials
from ecgopt.causes import Cause
from ecgopt.cli import steering
from ecgopt.cli.options import Place
from ecgopt.cli.status import status
from ecgopt.comparison import extension
from ecgopt.comparison.evidence import load_evidence
from ecgopt.comparison.progress import read_progress
from ecgopt.database.comparisons import extended as extended_by
from ecgopt.database.comparisons import extensions_of
from ecgopt.database.optuna.studies import open_study, slot_trial
from ecgopt.database.tables import work_item
from ecgopt.errors import StudyMismatch, UserError
from ecgopt.jobs.leased_trial import n_trials_of_others, trials_of
from ecgopt.queue import items
from ecgopt.study_file.cells import expand_studies, study_name
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a workspace with the data of the tiny study, and nothing else."""
    folder = tmp_path_factory.mktemp("prepared")
    study, workspace = folder / "study.toml", Workspace(folder / "ws")
    study.write_text(tiny_study())
    begin(study, workspace.root).database.engine.dispose()
    workspace.sqlite_file.unlink()
    return workspace.root


@pytest.fixture
def begun(prepared, study_file, tmp_path):
    study, workspace = study_file(), tmp_path / "ws"
    shutil.copytree(prepared, workspace)
    return study, begin(study, workspace)


def steer(verb, study, opened, **arguments):
    verb(study, place=Place(workspace=opened.workspace.root), **arguments)


def claim(opened):
    return items.claim(opened.database, opened.spec.name, "test:1", lease_seconds=60)


def extended_spec(opened):
    return extended_by(opened.spec, extensions_of(opened.database, opened.spec.name))


def left(opened):
    return items.unfinished(opened.database, opened.spec.name)


def test_a_paused_study_gives_out_nothing_until_it_is_resumed(begun, capsys):
    study, opened = begun
    steer(steering.pause, study, opened)
    assert claim(opened) is None
    capsys.readouterr()
    status(study, place=Place(workspace=opened.workspace.root))
    assert "paused" in capsys.readouterr().out
    steer(steering.resume, study, opened)
    assert claim(opened) is not None


def test_a_held_item_is_finished_during_a_pause(begun):
    study, opened = begun
    before, held = left(opened), claim(opened)
    steer(steering.pause, study, opened)
    items.renew(opened.database, held, lease_seconds=60, progress=1)
    items.finish(opened.database, held, cause=Cause.DONE, result={})
    assert left(opened) == before - 1


def test_a_study_with_a_held_item_is_not_deleted(begun):
    study, opened = begun
    before, _ = left(opened), claim(opened)
    with pytest.raises(UserError, match="1 items are held"):
        steer(steering.delete, study, opened, yes=True)
    assert left(opened) == before


def test_deleting_asks_for_the_name_and_leaves_other_studies(begun, tmp_path, monkeypatch):
    study, opened = begun
    other = tmp_path / "other.toml"
    other.write_text(tiny_study().replace('name = "tiny"', 'name = "tiny_too"'))
    kept = begin(other, tmp_path / "ws")
    before = left(kept)
    monkeypatch.setattr("sys.stdin", io.StringIO("tyni\ntiny\n"))
    with pytest.raises(UserError, match="must be typed, but 'tyni' was"):
        steer(steering.delete, study, opened)
    steer(steering.delete, study, opened)
    names = {found.study_name for found in opened.database.optuna.get_all_studies()}
    assert {name.split("/")[0] for name in names} == {"tiny_too"}
    assert left(opened) == 0
    assert left(kept) == before


@pytest.fixture(scope="module")
def extended(prepared, tmp_path_factory):
    """Run a study to its end, extend it, and run it to its end again with its unchanged file."""
    folder = tmp_path_factory.mktemp("extended")
    study, workspace = folder / "study.toml", folder / "ws"
    study.write_text(tiny_study())
    shutil.copytree(prepared, workspace)
    opened = begin(study, workspace)
    own = ("learning_rate=2e-3", "epochs=3", "frozen_stages=5")
    steer(steering.enqueue, study, opened, regime="fine_tune", values=own, label="mine")
    run(study, workspace, workers=1)
    steer(steering.extend, study, opened, trials=6, replicates=2)
    run(study, workspace, workers=2)
    url = f"sqlite:///{workspace}/ecgopt.sqlite3"
    return folder, load_evidence(load_spec(study), Workspace(workspace), url)


def run(study, workspace, *, workers):
    options = ("--workers", workers, "--workspace", workspace, "--out", workspace.parent / "out")
    done = ecgopt("run", study, *options)
    assert done.returncode == 0, done.stderr


def test_trials_that_others_add_take_no_slot_and_count_nowhere(begun):
    study, opened = begun
    first = next(iter(expand_studies(opened.spec)))
    name = study_name(opened.spec.name, first)
    url = opened.database.engine.url.render_as_string(hide_password=False)
    others = optuna.load_study(study_name=name, storage=url)
    for _ in range(2):
        others.add_trial(optuna.trial.create_trial(value=0.999))
    n_trials = opened.spec.budget.trials
    steer(steering.extend, study, opened, trials=n_trials + 2)
    by_number = [
        (trial.number, trial.value) for trial in others.get_trials() if trial.value is not None
    ]
    assert by_number == [(n_trials + 2, 0.999), (n_trials + 3, 0.999)]
    others.add_trial(optuna.trial.create_trial(value=0.999))
    assert [trial.number for trial in others.get_trials()] == list(range(n_trials + 5))
    raised = extended_spec(opened)
    assert [trial.number for trial in trials_of(opened.database, raised, first)] == list(
        range(n_trials + 2)
    )
    assert n_trials_of_others(opened.database, raised, first) == 3
    assert {seen.best for seen in read_progress(opened.database, raised).studies} == {None}
    held = claim(opened)
    assert held is not None
    slot = slot_trial(open_study(opened.database, raised, first, n_trials), n_trials)
    assert slot.state.name == "WAITING"


def test_a_slot_that_plain_optuna_ended_never_wins(begun):
    _, opened = begun
    first = next(iter(expand_studies(opened.spec)))
    name = study_name(opened.spec.name, first)
    url = opened.database.engine.url.render_as_string(hide_password=False)
    others = optuna.load_study(study_name=name, storage=url)
    others.tell(others.ask(), 0.999)  # Optuna gives out the waiting trial of slot 0
    taken = trials_of(opened.database, opened.spec, first)[0]
    assert (taken.number, taken.state, taken.value) == (0, "failed", None)


def test_an_extension_is_spent_exactly_and_by_all_arms(extended):
    _, evidence = extended
    assert evidence.comparison.budget.trials == 6
    paid = [budget_trials(study.trials) for study in evidence.studies]
    assert [[trial.number for trial in trials] for trials in paid] == [[*range(6)]] * 4
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
        ("scratch", "frozen_stages=1", "is not a parameter of scratch"),
        ("fine_tune", "frozen_stages=9", "frozen_stages must be from 0 to 5, but is 9"),
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
        steer(steering.enqueue, study, opened, regime=regime, values=(setting,))
    assert left(opened) == before


def test_the_report_says_that_the_budget_was_extended_after_the_test_was_opened(extended):
    folder, evidence = extended
    (said,) = evidence.comparison.extensions
    assert said.startswith("4 → 6 trials of every study, 1 → 2 replicates of every cell, 2")
    assert said.endswith("after 4 openings of the sealed test")
    assert said in (folder / "out" / "report.html").read_text()


def test_a_winner_that_stays_keeps_its_scores_and_a_new_one_is_scored_once(extended):
    _, evidence = extended
    finals = [final for final in evidence.finals if final.replicate == 0]
    openings = [opening for opening in evidence.openings if "/r0/" in opening.study]
    scored = [opening for opening in openings if not opening.reused]
    stored = [opening for opening in openings if opening.reused]
    new_winners = sum(final.role == "tuned" and final.trial_number >= 4 for final in finals)
    assert len(finals) == 4
    assert len(scored) == 4 + new_winners
    assert len(stored) == 2 - new_winners


def test_an_added_replicate_is_searched_and_tested_as_the_first_one_was(extended):
    _, evidence = extended
    assert Counter(study.replicate for study in evidence.studies) == {0: 2, 1: 2}
    tested = Counter((final.replicate, final.role) for final in evidence.finals)
    assert tested == {(n, role): 2 for n in (0, 1) for role in ("tuned", "published")}
    assert all(not o.reused for o in evidence.openings if "/r1/" in o.study)


@pytest.mark.parametrize(
    ("raised", "rule"),
    [
        ({"trials": 5}, "`trials > 6` must hold"),
        ({"replicates": 2}, "`replicates > 2` must hold"),
        ({"trials": 7, "replicates": 1}, "`replicates > 2` must hold"),
        ({}, "must raise trials or replicates"),
    ],
)
def test_an_extension_that_adds_nothing_is_refused(extended, raised, rule):
    folder, _ = extended
    with pytest.raises(UserError, match=rule):
        steering.extend(folder / "study.toml", **raised, place=Place(workspace=folder / "ws"))


def test_of_two_extensions_at_the_same_moment_one_is_refused(begun, monkeypatch):
    study, opened = begun
    create_studies = extension.create_studies

    def overtaken(*arguments):
        monkeypatch.undo()
        steer(steering.extend, study, opened, replicates=2)
        return create_studies(*arguments)

    monkeypatch.setattr(extension, "create_studies", overtaken)
    with pytest.raises(UserError, match="one extension at a time"):
        steer(steering.extend, study, opened, trials=6)
    (made,) = extensions_of(opened.database, opened.spec.name)
    assert (made.after.trials, made.after.replicates) == (4, 2)


def test_more_replicates_leave_the_present_final_fits_alone(begun):
    study, opened = begun
    closed = update(work_item).where(work_item.c.kind == "final").values(state="done")
    with opened.database.transaction() as connection:
        n_closed = connection.execute(closed).rowcount
    steer(steering.extend, study, opened, replicates=3)
    with opened.database.transaction() as connection:
        found = connection.execute(select(work_item.c.state).where(work_item.c.kind == "final"))
        states = Counter(found.scalars())
    assert states == {"done": n_closed, "free": 2 * n_closed}


def test_a_file_brought_up_to_date_joins_and_another_number_does_not(extended):
    folder, _ = extended
    study = folder / "changed.toml"
    study.write_text(tiny_study(trials=6, replicates=2))
    assert begin(study, folder / "ws").spec.budget.trials == 6
    study.write_text(tiny_study(trials=5, replicates=2))
    with pytest.raises(StudyMismatch, match=r"budget\.trials was"):
        begin(study, folder / "ws")


def test_a_running_final_fit_is_taken_back_by_an_extension(begun):
    study, opened = begun
    name = opened.spec.name
    with opened.database.transaction() as connection:
        connection.execute(
            work_item.update().where(work_item.c.kind != "final").values(state="done")
        )
    held = claim(opened)
    assert held.kind == "final"
    steer(steering.extend, study, opened, trials=5)
    with opened.database.transaction() as connection:
        query = select(work_item.c.kind, work_item.c.payload, work_item.c.state).where(
            work_item.c.comparison == name, work_item.c.key == held.key
        )
        row = connection.execute(query).one()
    tuned = json.loads(row.payload)["role"] == "tuned"
    assert row.state == ("free" if tuned else "held")
    assert claim(opened).kind == "trial"
