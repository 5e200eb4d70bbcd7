"""Where `ecgopt dashboard` will not serve, and with which token."""

import re
import socket

import pytest

from ecgopt.cli.dashboard import TOKEN_VARIABLE, Address, dashboard
from ecgopt.cli.options import Place
from ecgopt.database.engine import open_database
from ecgopt.errors import UserError


def assert_refused(reason, workspace, **address):
    open_database(f"sqlite:///{workspace}/ecgopt.sqlite3").engine.dispose()
    with pytest.raises(UserError, match=re.escape(reason)) as refused:
        dashboard(address=Address(**{"port": 0, **address}), place=Place(workspace=workspace))
    return str(refused.value)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ({"host": "0.0.0.0"}, "without TLS only this machine may reach the dashboard"),
        ({"behind_proxy": "http://ecg.example.org"}, "must look like https"),
        ({"behind_proxy": "https://ecg.example.org/ecg"}, "must look like https"),
    ],
)
def test_an_unsafe_address_is_refused(tmp_path, address, reason):
    assert_refused(reason, tmp_path, **address)


def test_a_short_token_is_refused_and_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    assert "secret" not in assert_refused("must have at least 16 characters, but has 6", tmp_path)


def test_a_taken_port_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert_refused("choose another --port", tmp_path, port=taken.getsockname()[1])
