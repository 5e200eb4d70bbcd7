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


def test_the_best_trials_come_first_and_no_more_than_asked_for(finished):
    every = read_csv(finished)
    best = read_csv(finished, "--top", 3)
    expected = every.sort_values("validation", ascending=False, na_position="last").head(3)
    assert best["validation"].tolist() == expected["validation"].tolist()
    by_rate = read_csv(finished, "--sort", "learning_rate")
    assert by_rate["learning_rate"].is_monotonic_decreasing
    assert len(by_rate) == len(every)


def test_a_column_that_does_not_exist_is_an_error_that_names_the_columns(finished):
    done = ecgopt("trials", *finished, "--sort", "validatoin")
    assert done.returncode == 2
    assert "--sort must name a column, but is 'validatoin'" in done.stderr
    assert "validation" in done.stderr.replace("validatoin", "")


def read_csv(finished, *options):
    done = ecgopt("trials", *finished, "--csv", *options)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(io.StringIO(done.stdout))
