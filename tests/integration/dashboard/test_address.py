"""Where a dashboard will not be served, and with which token."""

import socket

import pytest
from processes import ecgopt


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--host", "0.0.0.0"), "without TLS only this machine"),
        (("--behind-proxy", "http://ecg.example.org"), "must look like https"),
        (("--behind-proxy", "https://ecg.example.org/ecg"), "must look like https"),
    ],
)
def test_an_unsafe_address_is_refused(tmp_path, arguments, reason):
    done = ecgopt("dashboard", "--port", 0, *arguments, "--workspace", tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr


def test_a_short_token_is_refused(tmp_path):
    environment = {"ECGOPT_DASHBOARD_TOKEN": "short"}
    done = ecgopt("dashboard", "--port", 0, "--workspace", tmp_path, **environment)
    assert done.returncode == 2
    assert "at least 16 characters" in done.stderr
    assert "short" not in done.stderr.replace("shorter", "")


def test_a_taken_port_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ecgopt("dashboard", "--port", port, "--workspace", tmp_path)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr
