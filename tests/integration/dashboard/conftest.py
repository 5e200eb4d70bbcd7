"""One finished study, and dashboards that serve it."""

import optuna
import pytest
from dashboards import serve_dashboard
from trials_alone import begin_trials, finish_trials


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the workspace, and the database in it, of a study that is done and drawn."""
    folder = tmp_path_factory.mktemp("finished")
    url = f"sqlite:///{folder}/ecgopt.sqlite3"
    study, _, database = begin_trials(folder, url)
    finish_trials(study, folder, url)
    optuna.create_study(storage=database.optuna, study_name="somebody else's")
    return folder, database


@pytest.fixture(scope="module")
def served(finished):
    """Return a dashboard that only reads."""
    with serve_dashboard(finished[0]) as found:
        yield found


@pytest.fixture(scope="module")
def writable(finished):
    """Return a dashboard that may write."""
    with serve_dashboard(finished[0], "--write") as found:
        yield found
