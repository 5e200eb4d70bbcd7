"""What a worker that starts on another machine is told and makes sure of."""

import pickle
import socket
import threading

import pytest

from ecgopt.errors import LaunchError, StorageError
from ecgopt.launchers.remote_worker import Posting, refuse_shared_sqlite, shown_database

SERVER = "postgresql+psycopg://me:geheim@db.example.org/ecg"

told = []


def fake_work(study, workspace, *, stop, device=None):
    told.append((study, workspace, device))
    return 3


@pytest.fixture
def posting(tmp_path):
    def build(**changes):
        return Posting(
            **{
                "study": tmp_path / "study.toml",
                "workspace": tmp_path,
                "database": shown_database(SERVER),
                "storage_file": None,
                "insecure": False,
                "needs_gpu": False,
                "work": fake_work,
                **changes,
            }
        )

    return build


def test_the_orders_hold_no_password(posting, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SERVER)
    orders = pickle.dumps(posting(storage_file=secret))
    assert b"db.example.org" in orders
    assert b"geheim" not in orders


def test_a_machine_whose_environment_names_the_same_database_works(posting, monkeypatch):
    monkeypatch.setenv("ECGOPT_STORAGE", SERVER)
    assert posting().run(threading.Event()) == 3


def test_the_storage_file_of_the_launch_is_found_without_any_environment(
    posting, tmp_path, monkeypatch
):
    monkeypatch.setenv("ECGOPT_STORAGE_FILE", "")
    monkeypatch.delenv("ECGOPT_STORAGE_FILE")
    secret = tmp_path / "secret"
    secret.write_text(SERVER)
    assert posting(storage_file=secret).run(threading.Event()) == 3


def test_a_machine_that_lost_the_environment_does_not_begin_a_database_of_its_own(
    posting, tmp_path
):
    with pytest.raises(StorageError, match="the environment leads to sqlite:") as refused:
        posting().run(threading.Event())
    assert "geheim" not in str(refused.value)
    assert not list(tmp_path.glob("*.sqlite3"))


def test_a_missing_gpu_is_an_error_before_any_item_is_claimed(posting, monkeypatch):
    monkeypatch.setenv("ECGOPT_STORAGE", SERVER)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(LaunchError, match="a GPU was asked for"):
        posting(needs_gpu=True).run(threading.Event())


def test_sqlite_may_be_used_from_this_machine_and_from_no_other():
    refuse_shared_sqlite("sqlite:////x/y.sqlite3", [socket.gethostname()])
    refuse_shared_sqlite(SERVER, ["a", "b"])
    with pytest.raises(StorageError, match="one machine only, but workers may start on a, b: name"):
        refuse_shared_sqlite("sqlite:////x/y.sqlite3", ["b", "a", socket.gethostname()])
