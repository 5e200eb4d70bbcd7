"""Databases of every kind that a contract must hold on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def postgres_binaries():
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return Path(found).parent if found else (places[0] if places else None)


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory):
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL refuses to run as root and `runuser` is missing")
    folder = tmp_path_factory.mktemp("pg", numbered=True)
    as_user = []
    if os.geteuid() == 0:
        # The server refuses root, and its folder must be reachable for its own user.
        folder = Path("/tmp") / f"ecgopt-pg-{os.getpid()}"
        folder.mkdir(mode=0o755)
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, port = folder / "data", 20_000 + os.getpid() % 20_000
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    subprocess.run([*as_user, binaries / "initdb", "-A", "trust", "-D", data], **quiet)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*as_user, binaries / "pg_ctl", "-D", data]
    subprocess.run([*control, "-w", "-o", options, "start"], **quiet)
    try:
        user = "postgres" if os.geteuid() == 0 else os.environ["USER"]
        yield f"postgresql+psycopg://{user}@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ecgopt.sqlite3"
    return request.getfixturevalue("postgres_url")
