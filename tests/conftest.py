"""Fixtures shared by all tests: the real data, and small comparisons."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from servers import MariaServer, PostgresServer
from sqlalchemy import Engine, event
from tiny_study import tiny_study

ROOT = Path(__file__).resolve().parent.parent

# The GPUs of a shared machine are in use: tests take one only where they are told to.
if not os.environ.get("ECGOPT_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# For the processes that tests start, and for torch, which pytest's plugins have imported by now:
# it would go on with all cores while libraries loaded later obey the variable, and crash.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# How fast an example is made and tested depends on what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_storage_of_the_user(monkeypatch):
    for name in ("ECGOPT_STORAGE", "ECGOPT_STORAGE_FILE", "ECGOPT_WORKSPACE", "ECGOPT_INSECURE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _connections_are_closed():
    """Close the connections that a test leaves open: the collector would warn in another test."""
    pools = set()

    def remember(connection):
        pools.add(connection.engine.pool)

    event.listen(Engine, "engine_connect", remember)
    yield
    event.remove(Engine, "engine_connect", remember)
    for pool in pools:
        pool.dispose()


@pytest.fixture(scope="session")
def postgres():
    """Return a running PostgreSQL server; a test that breaks it must mend it."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mariadb():
    """Return a running MariaDB server."""
    server = MariaServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def sqlite_url(tmp_path):
    """Return the URL of a new SQLite file."""
    return f"sqlite:///{tmp_path}/ecgopt.sqlite3"


@pytest.fixture
def postgresql_url(postgres):
    """Return the URL, password included, of an empty PostgreSQL database."""
    return postgres.url(postgres.new_database())


@pytest.fixture
def mariadb_url(mariadb):
    """Return the URL, password included, of an empty MariaDB database."""
    return mariadb.url(mariadb.new_database())


@pytest.fixture
def study_file(tmp_path):
    """Write a small synthetic study, with given replacements of its text, and return its path."""

    def write(name="study.toml", **replacements):
        path = tmp_path / name
        path.write_text(tiny_study(**replacements))
        return path

    return write
