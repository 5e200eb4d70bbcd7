"""`ecgopt storage` on every back end, as a user calls it."""

import optuna
from processes import ecgopt

from ecgopt.database.engine import open_database, quiet_optuna


def secret_of(url):
    return url.split("@")[0].rsplit(":", 1)[-1] if "@" in url else None


def test_check_measures_and_leaves_nothing_behind(url):
    assert ecgopt("storage", "init", ECGOPT_STORAGE=url).returncode == 0
    done = ecgopt("storage", "check", ECGOPT_STORAGE=url)
    assert done.returncode == 0, done.stderr
    for name in ("report latency", "clock", "lock waits", "Optuna's schema", "ecgopt's schema"):
        assert name in done.stdout
    assert "p50" in done.stdout
    assert (secret_of(url) or "no secret") not in done.stdout + done.stderr
    quiet_optuna()
    database = open_database(url)
    assert optuna.get_all_study_names(storage=database.optuna) == []
    database.engine.dispose()


def test_a_backup_comes_back_in_an_empty_database(url, request, tmp_path):
    quiet_optuna()
    database = open_database(url)
    study = optuna.create_study(storage=database.optuna, study_name="kept")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    values = [trial.value for trial in study.trials]
    database.engine.dispose()
    file = tmp_path / "study.backup"
    saved = ecgopt("storage", "backup", file, ECGOPT_STORAGE=url)
    assert saved.returncode == 0, saved.stderr
    again = ecgopt("storage", "backup", file, ECGOPT_STORAGE=url)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    refused = ecgopt("storage", "restore", file, ECGOPT_STORAGE=url)
    assert refused.returncode == 2
    empty = empty_like(url, request, tmp_path)
    restored = ecgopt("storage", "restore", file, ECGOPT_STORAGE=empty)
    assert restored.returncode == 0, restored.stderr
    database = open_database(empty)
    found = optuna.load_study(study_name="kept", storage=database.optuna)
    assert [trial.value for trial in found.trials] == values
    database.engine.dispose()


def empty_like(url, request, tmp_path):
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/empty.sqlite3"
    server = request.getfixturevalue("postgres" if url.startswith("postgresql") else "mariadb")
    return server.url(server.new_database())
