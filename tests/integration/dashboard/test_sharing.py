"""One database for workers, refreshers and readers: nobody stands in another's way."""

import threading

import pytest
import training_worker
from dashboards import serve_dashboard
from sqlalchemy import delete, func, select
from tiny_study import begin, tiny_study
from trials_alone import begin_trials, finish_trials
from worker_crowd import Crowd

from ecgopt.dashboard.publish import Publisher
from ecgopt.database.engine import open_database, open_existing
from ecgopt.database.tables import trade_point, work_item
from ecgopt.errors import StorageError
from ecgopt.workspace import Workspace

N_WORKERS = 8
N_TRIALS = 6


def test_racing_refreshers_copy_every_trial_once(tmp_path, sqlite_url):
    study, spec, database = begin_trials(tmp_path, sqlite_url)
    finish_trials(study, tmp_path, sqlite_url)
    with database.transaction() as connection:
        connection.execute(delete(trade_point))
    (copy,) = (s for s in database.optuna.get_all_studies() if "trade-off" in s.study_name)
    database.optuna.delete_study(copy._study_id)
    barrier, failures = threading.Barrier(4), []

    def refresh():
        own = open_database(sqlite_url)
        mark_stale(own, spec.name)
        barrier.wait()
        try:
            Publisher(own, Workspace(tmp_path)).publish(spec.name)
        except Exception as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_every_trial_is_copied_once(database)


def mark_stale(database, name):
    for study in database.optuna.get_all_studies():
        if study.study_name.startswith(f"{name}/"):
            database.optuna.set_study_system_attr(study._study_id, "ecgopt:page", "old")


def assert_every_trial_is_copied_once(database):
    complete, copies = 0, []
    for study in database.optuna.get_all_studies():
        trials = database.optuna.get_all_trials(study._study_id)
        if study.study_name.endswith("/trade-off"):
            copies = [(t.user_attrs["study"], t.user_attrs["trial"]) for t in trials]
            assert [t.number for t in trials] == [*range(len(trials))]
        else:
            complete += sum(t.state.name == "COMPLETE" for t in trials)
    assert len(copies) == len(set(copies)) == complete
    with database.transaction() as connection:
        remembered = connection.execute(select(func.count()).select_from(trade_point)).scalar_one()
    assert remembered == complete


@pytest.fixture
def trained(tmp_path):
    """Let workers train a whole study in a SQLite file that a dashboard reads and refreshes.

    Return the database, the statuses of all the dashboard's answers, and everybody's logs.
    """
    study = tmp_path / "study.toml"
    study.write_text(tiny_study(trials=N_TRIALS, lease=60))
    opened = begin(study, tmp_path / "ws")
    url = f"sqlite:///{opened.workspace.sqlite_file}"
    crowd = Crowd(study, url, tmp_path, opened.database, main=training_worker.main)
    publisher, answers = Publisher(opened.database, opened.workspace), []
    with serve_dashboard(opened.workspace.root, "--refresh") as dashboard, crowd:
        crowd.add(N_WORKERS)
        while any(worker.is_alive() for worker in crowd.members):
            pages = [f"/api/studies/{study_id}" for study_id in dashboard.studies().values()]
            answers += [dashboard.ask("GET", page)[0] for page in pages]
            publisher.publish_all()
        crowd.finish()
        logs = crowd.logs()
    return opened.database, answers, logs + dashboard.log.read_text()


def test_training_workers_and_a_polled_dashboard_share_one_sqlite_file(trained):
    database, answers, logs = trained
    assert len(answers) > N_WORKERS
    assert set(answers) == {200}
    assert "locked" not in logs
    assert "Traceback" not in logs, logs[-3000:]
    with database.transaction() as connection:
        rows = connection.execute(select(work_item)).all()
    assert {(row.state, row.total_failures) for row in rows} == {("done", 0)}
    for study in database.optuna.get_all_studies():
        if not study.study_name.endswith("/trade-off"):
            trials = database.optuna.get_all_trials(study._study_id)
            assert [trial.number for trial in trials] == [*range(N_TRIALS)]
            assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    assert_every_trial_is_copied_once(database)


def test_a_reader_takes_no_lock_and_cannot_write(tmp_path, sqlite_url):
    begin_trials(tmp_path, sqlite_url)
    reader, writer = open_existing(sqlite_url, reads_only=True), open_database(sqlite_url)
    with writer.transaction() as held:
        held.execute(delete(trade_point))
        assert len(reader.optuna.get_all_studies()) == 2
    with reader.transaction() as open_read:
        open_read.execute(select(work_item)).all()
        with writer.transaction() as connection:
            connection.execute(delete(trade_point))
    with pytest.raises(StorageError, match="readonly"), reader.transaction() as connection:
        connection.execute(delete(trade_point))
