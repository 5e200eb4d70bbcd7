"""`ecgopt status --watch` and `ecgopt trials` on a finished study."""

import io
import json
import os
import pty
import signal
import subprocess
import sys

import pandas as pd
import pytest
from processes import ecgopt
from tiny_study import begin, tiny_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeing")
    study = folder / "study.toml"
    study.write_text(tiny_study())
    done = ecgopt("run", study, "--workers", 1, "--workspace", folder / "ws", "--out", folder / "o")
    assert done.returncode == 0, done.stderr
    return study, "--workspace", folder / "ws"


def listed(*arguments):
    done = ecgopt("trials", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_trial_is_one_aligned_line(finished):
    heading, *lines = listed(*finished).splitlines()
    assert len(lines) == 8
    end = heading.index("  recipe")
    assert all(line[end] == " " for line in lines)


def test_csv_json_and_parquet_hold_the_same_trials(finished, tmp_path):
    from_csv = pd.read_csv(io.StringIO(listed(*finished, "--csv")))
    from_json = pd.DataFrame(json.loads(listed(*finished, "--json")))
    listed(*finished, "--parquet", "--out", tmp_path / "trials.parquet")
    from_parquet = pd.read_parquet(tmp_path / "trials.parquet")
    assert len(from_csv) == 8
    for other in (from_json, from_parquet):
        pd.testing.assert_frame_equal(from_csv, other, check_dtype=False)
    assert {"epochs", "trained_epochs", "learning_rate", "frozen_stages"} <= {*from_csv.columns}


def test_one_regime_can_be_asked_for(finished):
    found = json.loads(listed(*finished, "--regime", "scratch", "--json"))
    assert {row["regime"] for row in found} == {"scratch"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--regime", "scrach"), "must be one of scratch, fine_tune"),
        (("--csv", "--json"), "one form"),
    ],
)
def test_a_wrong_request_is_one_line(finished, arguments, reason):
    done = ecgopt("trials", *finished, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


def test_watching_a_finished_study_ends_by_itself_without_escape_codes(finished):
    done = ecgopt("status", *finished, "--watch")
    assert done.returncode == 0, done.stderr
    assert "trials 8/8" in done.stdout
    assert "\x1b" not in done.stdout


def test_ctrl_c_ends_a_live_view_cleanly(study_file, tmp_path):
    study = study_file()
    begin(study, tmp_path / "ws")
    command = ["status", study, "--watch", "--workspace", tmp_path / "ws"]
    leader, follower = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "ecgopt", *map(str, command)],
        stdin=follower, stdout=follower, stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while b"trials 0/8" not in seen:
        seen += os.read(leader, 4096)
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=60)
    os.close(leader)
    assert watching.returncode == 0
    assert errors == b""
