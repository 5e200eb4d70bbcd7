"""Studies with scripted training on each kind of database."""

import os
import tempfile
from pathlib import Path

import optuna
import pytest
from scripted_worker import begin_scripted, scripted_score, scripted_study
from sqlalchemy import select
from worker_crowd import Crowd

from ecgopt.database.engine import open_database
from ecgopt.database.tables import work_item
from ecgopt.jobs.pruning import ladder
from ecgopt.jobs.trial import trial_seed
from ecgopt.study_file.cells import expand_studies, study_name


@pytest.fixture
def memory_folder():
    """Return a folder in memory, where there is one: dozens of workers sync files at once."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        dir=shared if os.access(shared, os.W_OK) else None, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


@pytest.fixture
def sqlite_url(memory_folder):
    """Return the URL of a new SQLite file in memory."""
    return f"sqlite:///{memory_folder}/ecgopt.sqlite3"


@pytest.fixture
def crowd(memory_folder):
    """Return a function that begins a scripted study and returns it with its future workers."""
    opened = []

    def begin(url, *, options=None, **replacements):
        study = scripted_study(memory_folder, **replacements)
        spec, database = begin_scripted(study, url)
        opened.append(database)
        return spec, Crowd(study, url, memory_folder, database, **options or {})

    yield begin
    for database in opened:
        database.engine.dispose()


@pytest.fixture
def assert_exact():
    """Return a check that every slot was spent once, and every value is that of its script."""

    def check(spec, url):
        database = open_database(url)
        for key in expand_studies(spec):
            study = optuna.load_study(
                study_name=study_name(spec.name, key), storage=database.optuna
            )
            trials = study.get_trials(deepcopy=False)
            assert [trial.number for trial in trials] == list(range(spec.budget.trials))
            for trial in trials:
                assert trial.state.name in ("COMPLETE", "PRUNED")
                seed = trial_seed(spec, key, trial.number)
                epochs = {step: n for n, step in ladder(int(trial.params["epochs"])).items()}
                expected = {
                    step: scripted_score(seed, epochs[step]) for step in trial.intermediate_values
                }
                assert trial.intermediate_values == pytest.approx(expected, abs=1e-9)
                assert trial.value == trial.intermediate_values[trial.last_step]
        with database.transaction() as connection:
            rows = connection.execute(select(work_item)).all()
        database.engine.dispose()
        assert {row.state for row in rows} == {"done"}
        return sum(row.total_failures for row in rows)

    return check
