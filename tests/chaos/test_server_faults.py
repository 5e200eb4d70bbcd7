"""A server that drops, restarts, stands still or refuses: no trial is lost."""

import os
import random
import shutil
import subprocess
import time
from contextlib import ExitStack

import pytest
from processes import ecgopt, start
from servers import own_address
from sqlalchemy import NullPool, create_engine, select

from ecgopt.database.engine import open_database
from ecgopt.database.tables import work_item
from ecgopt.errors import StorageError

pytestmark = [pytest.mark.chaos, pytest.mark.server]

SEED = 7


def drop_all(server):
    server.terminate_backends()


def restart(server):
    server.restart()


@pytest.mark.parametrize("fault", [drop_all, restart])
def test_dropped_connections_and_a_restart_cost_no_trial(
    fault, postgres, postgresql_url, crowd, assert_exact
):
    spec, workers = crowd(postgresql_url, trials=16, lease=30, options={"epoch_seconds": 0.1})
    moments = random.Random(SEED).sample(range(2, 26), 3)
    with workers:
        workers.add(3)
        for moment in sorted(moments):
            workers.wait_until(lambda moment=moment: workers.n_done() >= moment)
            fault(postgres)
        workers.finish()
    n_losses = assert_exact(spec, postgresql_url)
    assert n_losses == 0


def test_a_server_that_stands_still_for_20_s_costs_no_trial(
    postgres, postgresql_url, crowd, assert_exact
):
    spec, workers = crowd(postgresql_url, trials=8, lease=60, options={"epoch_seconds": 0.1})
    with workers:
        workers.add(3)
        workers.wait_until(lambda: workers.n_done() >= 3)
        postgres.pause()
        try:
            time.sleep(20)  # the fault itself
        finally:
            postgres.resume()
        workers.finish()
    n_losses = assert_exact(spec, postgresql_url)
    assert n_losses == 0


def test_a_worker_that_cannot_renew_gives_up_before_its_lease_ends(
    postgres, postgresql_url, crowd, assert_exact
):
    spec, workers = crowd(
        postgresql_url, trials=6, lease=4, options={"epoch_seconds": 0.2, "max_failures": 1000}
    )
    with workers:
        workers.add(2)
        workers.wait_until(lambda: workers.n_done() >= 2 and workers.holder())
        postgres.pause()
        try:
            # The server is mute: only the workers' own clocks and logs can tell.
            workers.wait_until(lambda: "given up" in workers.logs(), seconds=60)
        finally:
            postgres.resume()
        workers.finish()
    assert_exact(spec, postgresql_url)


def test_a_worker_waits_for_a_free_connection(postgres, crowd, assert_exact):
    name = postgres.new_database()
    postgres.execute(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'limited') THEN "
        f"CREATE USER limited PASSWORD '{postgres.password}' CONNECTION LIMIT 4; END IF; END $$"
    )
    postgres.execute(f"ALTER DATABASE {name} OWNER TO limited")
    limited = postgres.url(name, user="limited")
    spec, workers = crowd(limited, trials=8, lease=30, options={"epoch_seconds": 0.05})
    workers.database.engine.dispose()
    others = create_engine(limited, poolclass=NullPool)
    with workers:
        with ExitStack() as taken:
            for _ in range(4):
                taken.enter_context(others.connect())
            workers.add(3)
            workers.wait_until(lambda: "too many connections" in workers.logs())
        workers.finish()
    postgres.execute("ALTER USER limited CONNECTION LIMIT 50")
    n_losses = assert_exact(spec, limited)
    assert n_losses == 0


def test_a_wrong_password_is_a_user_error_that_does_not_repeat_it(postgres, postgresql_url):
    name = postgresql_url.rsplit("/", 1)[1]
    wrong = postgres.url(name, password="not-the-password")
    refused = ecgopt("storage", "check", ECGOPT_STORAGE=wrong)
    assert refused.returncode == 2
    assert "password" in refused.stderr
    assert "not-the-password" not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_tls_is_used_where_it_is_required_and_missed_where_it_is_refused(postgres, postgresql_url):
    if not postgres.has_tls:
        pytest.skip("openssl is not installed, so the server has no certificate")
    name = postgresql_url.rsplit("/", 1)[1]
    postgres.add_user("tls_only")
    postgres.add_user("plain_only")
    opened = open_database(postgres.url(name, user="tls_only"))
    opened.engine.dispose()
    with pytest.raises(StorageError):
        open_database(postgres.url(name, user="tls_only", query="?sslmode=disable"))
    with pytest.raises(StorageError):
        open_database(postgres.url(name, user="plain_only", query="?sslmode=require"))


def test_another_host_is_spoken_to_with_tls_or_only_when_it_was_waived(
    postgres, postgresql_url, monkeypatch
):
    if (address := own_address()) is None:
        pytest.skip("this host has no address but loopback")
    name = postgresql_url.rsplit("/", 1)[1]
    postgres.add_user("plain_only")
    plain = postgres.url(name, user="plain_only", host=address)
    with pytest.raises(StorageError, match="--insecure"):
        open_database(plain)
    if postgres.has_tls:
        open_database(postgres.url(name, host=address)).engine.dispose()
    monkeypatch.setenv("ECGOPT_INSECURE", "1")
    open_database(plain).engine.dispose()


@pytest.fixture
def small_disk(memory_folder):
    """Mount a file system of 64 KiB as the workspace and return it."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    folder = memory_folder / "ws"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        check=False,
        capture_output=True,
    )
    if made.returncode != 0:
        pytest.skip("this container may not mount file systems")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_checkpoints_but_no_trial(small_disk, sqlite_url, crowd, assert_exact):
    (small_disk / "filler").write_bytes(b"0" * 60_000)
    spec, workers = crowd(
        sqlite_url, trials=2, lease=30, epochs_high=4, options={"epoch_seconds": 0.4}
    )
    with workers:
        workers.add(1)
        workers.finish()
        assert "cannot be written: No space left on device" in workers.logs()
    n_losses = assert_exact(spec, sqlite_url)
    assert n_losses == 0


def test_two_supervisors_begin_one_study_on_an_empty_database(postgresql_url, study_file, tmp_path):
    study = study_file(trials=4, pruning="false")
    options = ("--workers", 1, "--gpus-per-worker", 0, "--workspace", tmp_path / "ws")
    command = ("worker", study, *options)
    supervisors = [start(*command, ECGOPT_STORAGE=postgresql_url) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in supervisors]
    assert [process.returncode for process in supervisors] == [0, 0], said
    database = open_database(postgresql_url)
    with database.transaction() as connection:
        rows = connection.execute(select(work_item)).all()
    database.engine.dispose()
    assert {row.state for row in rows} == {"done"}
    assert sum(row.kind == "trial" for row in rows) == 8
    assert sum(row.total_failures for row in rows) == 0
