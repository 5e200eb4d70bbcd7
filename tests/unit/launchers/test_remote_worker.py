"""Start-up parameters of a worker on another machine, and its checks there."""

import pickle
import socket
import threading

import pytest

from ecgopt.errors import StorageError
from ecgopt.launchers.remote_worker import RemoteWorker, refuse_shared_sqlite, shown_database

SERVER = "postgresql+psycopg://me:geheim@db.example.org/ecg"

told = []


def fake_work(study, workspace, *, stop, device=None):
    told.append((study, workspace, device))
    return 3


@pytest.fixture
def remote_worker(tmp_path, monkeypatch):
    monkeypatch.setattr("ecgopt.cli.worker_process.work", fake_work)

    def build(**changes):
        return RemoteWorker(
            **{
                "study": tmp_path / "study.toml",
                "workspace": tmp_path,
                "database": shown_database(SERVER),
                "storage_file": None,
                "insecure": False,
                "needs_gpu": False,
                **changes,
            }
        )

    return build


def test_the_parameters_hold_no_password(remote_worker, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SERVER)
    pickled = pickle.dumps(remote_worker(storage_file=secret))
    assert b"db.example.org" in pickled
    assert b"geheim" not in pickled


def test_a_machine_whose_environment_names_the_same_database_works(remote_worker, monkeypatch):
    monkeypatch.setenv("ECGOPT_STORAGE", SERVER)
    assert remote_worker().run(threading.Event()) == 3


def test_the_storage_file_of_the_launch_is_found_without_any_environment(
    remote_worker, tmp_path, monkeypatch
):
    monkeypatch.setenv("ECGOPT_STORAGE_FILE", "")
    monkeypatch.delenv("ECGOPT_STORAGE_FILE")
    secret = tmp_path / "secret"
    secret.write_text(SERVER)
    assert remote_worker(storage_file=secret).run(threading.Event()) == 3


def test_a_machine_that_lost_the_environment_does_not_begin_a_database_of_its_own(
    remote_worker, tmp_path
):
    with pytest.raises(StorageError, match="the environment leads to sqlite:") as refused:
        remote_worker().run(threading.Event())
    assert "geheim" not in str(refused.value)
    assert not list(tmp_path.glob("*.sqlite3"))


@pytest.mark.parametrize(("needs_gpu", "device"), [(True, "cuda"), (False, None)])
def test_a_worker_that_was_given_a_gpu_works_on_nothing_else(
    remote_worker, monkeypatch, needs_gpu, device
):
    monkeypatch.setenv("ECGOPT_STORAGE", SERVER)
    remote_worker(needs_gpu=needs_gpu).run(threading.Event())
    assert told[-1][2] == device


def test_sqlite_may_be_used_from_this_machine_and_from_no_other():
    refuse_shared_sqlite("sqlite:////x/y.sqlite3", lambda: [socket.gethostname()])
    refuse_shared_sqlite(SERVER, lambda: ["a", "b"])
    with pytest.raises(StorageError, match="one machine only, but workers may start on a, b: name"):
        refuse_shared_sqlite("sqlite:////x/y.sqlite3", lambda: ["b", "a", socket.gethostname()])
