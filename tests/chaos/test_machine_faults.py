"""Faults of machines in real studies: nothing of the budget is spent, and a retry ends equal."""

import json
import shutil
import threading
import time

import optuna
import pytest
from processes import ecgopt, start_run, start_worker

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore::ResourceWarning")]

SETTINGS = {"sampler": "random", "pruning": "false", "trials": 3}
STUDIES = [f"tiny/down/resnet1d18-w2/n60/r0/{arm}" for arm in ("scratch", "fine_tune/from-up")]


def trials(workspace):
    """Return what plain Optuna finds of every trial: state, value, parameters, reports."""
    url = f"sqlite:///{workspace}/ecgopt.sqlite3"
    return [
        (trial.number, trial.state.name, trial.value, trial.params, trial.intermediate_values)
        for name in STUDIES
        for trial in optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
    ]


def finals(out):
    """Return the scores of the final fits of a report."""
    results = json.loads((out / "results.json").read_text())
    return [(f["study"], f["role"], f["metrics"]) for f in results["finals"]]


def run(study, workspace, out):
    return ecgopt("run", study, "--workers", 2, "--workspace", workspace, "--out", out)


@pytest.fixture
def undisturbed(study_file, tmp_path):
    study, workspace, out = study_file(**SETTINGS), tmp_path / "calm", tmp_path / "calm-out"
    first = run(study, workspace, out)
    assert first.returncode == 0, first.stderr
    return study, trials(workspace), (out / "results.json").read_text()


def weights_of(workspace):
    return next((workspace / "pretrained" / "tiny").glob("*.safetensors"))


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)


def test_a_folder_that_is_away_for_seconds_costs_no_trial(undisturbed, tmp_path):
    study, expected, _ = undisturbed
    workspace = tmp_path / "ws"
    process = start_run(study, workspace, workers=2)
    weights = workspace / "pretrained"
    wait_for(lambda: list(weights.glob("tiny/*.safetensors")))
    weights.rename(tmp_path / "away")
    time.sleep(3.0)
    shutil.copytree(tmp_path / "away", weights, dirs_exist_ok=True)
    process.wait(timeout=240)
    ecgopt("study", "retry", study, "--workspace", workspace)
    last = run(study, workspace, tmp_path / "out")
    assert last.returncode == 0, last.stderr
    assert trials(workspace) == expected
