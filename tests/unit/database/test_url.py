"""Where the database is, and which ways to it are refused."""

import pytest

from ecgopt.database.url import (
    is_local,
    parsed_url,
    shown,
    storage_url,
    transport_options,
    without_secrets,
)
from ecgopt.errors import StorageError

REMOTE = "postgresql://me@db.example.org/ecg"


def test_a_password_in_an_option_is_refused_with_the_remedy(tmp_path):
    for url in ("postgresql://me:hush@localhost/x", "postgresql://me@localhost/x?password=hush"):
        with pytest.raises(StorageError, match=r"ECGOPT_STORAGE.*pgpass") as refused:
            storage_url(url, tmp_path / "db")
        assert "hush" not in str(refused.value)


def test_the_url_comes_from_option_environment_file_and_default_in_this_order(
    tmp_path, monkeypatch
):
    assert storage_url(None, tmp_path / "db") == f"sqlite:///{tmp_path}/db"
    (tmp_path / "url").write_text("sqlite:///from_file\n")
    monkeypatch.setenv("ECGOPT_STORAGE_FILE", str(tmp_path / "url"))
    assert storage_url(None, tmp_path / "db") == "sqlite:///from_file"
    monkeypatch.setenv("ECGOPT_STORAGE", "sqlite:///from_environment")
    assert storage_url(None, tmp_path / "db") == "sqlite:///from_environment"
    assert storage_url("sqlite:///given", tmp_path / "db") == "sqlite:///given"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("sqlite:////tmp/x", True),
        ("postgresql://me@localhost/x", True),
        ("postgresql://me@127.8.0.1:5433/x", True),
        ("postgresql://me@[::1]:5433/x", True),
        ("postgresql:///x", True),
        ("postgresql:///x?host=/run/postgresql", True),
        ("postgresql:///x?host=db.example.org", False),
        ("postgresql:///x?host=127.0.0.1:5432&host=db.example.org:5432", False),
        ("postgresql://me@10.0.0.4/x", False),
        ("mysql://me@db.example.org/x", False),
        ("mysql://me@/x?unix_socket=/run/mysqld.sock", True),
    ],
)
def test_loopback_sockets_and_files_are_local(url, local, monkeypatch):
    monkeypatch.delenv("PGHOST", raising=False)
    assert is_local(parsed_url(url)) is local


def test_a_url_without_host_is_as_far_away_as_pghost(monkeypatch):
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert not is_local(parsed_url("postgresql:///x"))


def test_the_way_off_this_host_is_encrypted_unless_it_was_waived(monkeypatch):
    monkeypatch.delenv("PGSSLMODE", raising=False)
    assert transport_options(parsed_url("postgresql://me@localhost/x")) == {}
    assert transport_options(parsed_url(REMOTE)) == {"sslmode": "require"}
    assert transport_options(parsed_url(f"{REMOTE}?sslmode=verify-full")) == {}
    assert "ssl" in transport_options(parsed_url("mysql://me@db.example.org/x"))
    for mode in ("disable", "allow", "prefer"):
        with pytest.raises(StorageError, match="--insecure"):
            transport_options(parsed_url(f"{REMOTE}?sslmode={mode}"))
    monkeypatch.setenv("ECGOPT_INSECURE", "1")
    assert transport_options(parsed_url(f"{REMOTE}?sslmode=disable")) == {}
    assert transport_options(parsed_url("mysql://me@db.example.org/x")) == {}


def test_no_password_is_shown():
    url = parsed_url("postgresql://me:hush@db/x?sslpassword=also")
    assert shown(url) == "postgresql+psycopg://me:***@db/x"
    assert without_secrets("cannot use hush or also", url) == "cannot use *** or ***"


@pytest.mark.parametrize("url", ["nonsense", "oracle://me@db/x", "postgresql+unknown://me@db/x"])
def test_a_url_that_cannot_be_used_is_a_user_error(url):
    with pytest.raises(StorageError):
        parsed_url(url)
