"""Connections: how many a process holds, a pooler on the way, and a file that is replaced."""

import shutil

import pytest
from processes import ecgopt
from servers import PgBouncer
from sqlalchemy import text

from ecgopt.database.engine import open_database, open_existing
from ecgopt.database.tables import create_tables, has_tables
from ecgopt.errors import StorageError
from ecgopt.queue import pausing

pytestmark = pytest.mark.chaos

N_WORKERS = 3


@pytest.mark.server
@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": "options"}])
def test_a_study_runs_behind_a_pooler_in_transaction_mode(
    settings, postgres, postgresql_url, study_file, tmp_path
):
    pooler = PgBouncer(postgres, postgresql_url.rsplit("/", 1)[1], **settings)
    try:
        checked = ecgopt("storage", "check", ECGOPT_STORAGE=pooler.url)
        assert "nothing is prepared" in checked.stdout, checked.stderr
        study = study_file(trials=2, epochs_high=2, published_epochs=2, sampler="random")
        place = ("--workspace", tmp_path / "ws", "--out", tmp_path / "out")
        ended = ecgopt("run", study, "--workers", 2, *place, ECGOPT_STORAGE=pooler.url)
        assert ended.returncode == 0, ended.stderr
        database = open_database(pooler.url)
        with database.engine.connect() as connection:
            assert connection.execute(text("SHOW lock_timeout")).scalar() == "30s"
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "1min"
        database.engine.dispose()
    finally:
        pooler.remove()


@pytest.mark.server
def test_a_worker_that_trains_holds_two_connections_and_one_that_waits_holds_one(
    postgres, postgresql_url, crowd
):
    name = postgresql_url.rsplit("/", 1)[1]

    def count():
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
        return postgres.execute(query)[0][0]

    _, workers = crowd(postgresql_url, trials=8, lease=2, options={"epoch_seconds": 0.05})
    workers.database.engine.dispose()
    assert count() == 0
    with workers:
        workers.add(N_WORKERS)
        most = 0

        def half_are_done():
            nonlocal most
            done = workers.n_done()
            most = max(most, count() - 1)  # one is this process's own
            return done >= 8

        workers.wait_until(half_are_done)
        assert N_WORKERS <= most <= 2 * N_WORKERS
        pausing.pause(workers.database, "tiny")
        workers.wait_until(lambda: workers.holder() is None)
        workers.wait_until(lambda: count() - 1 == N_WORKERS)
        pausing.resume(workers.database, "tiny")
        workers.finish()


def test_an_sqlite_file_that_is_replaced_under_an_open_database_is_noticed(tmp_path):
    file, other = tmp_path / "a.sqlite3", tmp_path / "b.sqlite3"
    opened = [open_database(f"sqlite:///{path}") for path in (file, other)]
    for database in opened:
        create_tables(database)
        database.engine.dispose()
    database = open_existing(f"sqlite:///{file}")
    assert has_tables(database)
    shutil.copy(other, tmp_path / "copy")
    (tmp_path / "copy").rename(file)
    with pytest.raises(StorageError, match="was replaced or removed while it was in use"):
        has_tables(database)
    file.unlink()
    with pytest.raises(StorageError, match="was replaced or removed"):
        has_tables(database)
    database.engine.dispose()
