"""A whole comparison through real processes on a real database."""

import json
import signal
import time
from collections import Counter

import optuna
import pytest
from processes import ecgopt, start_run, start_worker

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def trial_states(workspace, regime):
    """Count the states with plain Optuna, which knows nothing of ours."""
    name = f"tiny/down/resnet1d18-w2/n60/r0/{regime}"
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{workspace}/ecgopt.sqlite3")
    trials = study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    return Counter(trial.state.name for trial in trials)


REGIMES = ("scratch", "fine_tune/from-up")


def test_a_run_ends_with_a_report_and_a_second_run_finds_all_done(study_file, tmp_path):
    study, workspace, out = study_file(), tmp_path / "ws", tmp_path / "out"
    arguments = ("run", study, "--workers", 2, "--workspace", workspace, "--out", out)
    first = ecgopt(*arguments)
    assert first.returncode == 0, first.stderr
    assert "report:" in first.stdout
    results = json.loads((out / "results.json").read_text())
    assert (out / "report.html").stat().st_size > 10_000
    assert list((out / "figures").glob("*.svg"))
    assert list((out / "tables").glob("*.csv"))
    assert results["cells"]
    groups = results["subgroups"]
    assert groups["not_recorded"] == []
    assert {"sex", "age"} == {
        each["by"] for each in (*groups["comparisons"], *groups["left_out"]) if each["group"]
    }
    before = {regime: trial_states(workspace, regime) for regime in REGIMES}
    second = ecgopt(*arguments)
    assert second.returncode == 0, second.stderr
    assert json.loads((out / "results.json").read_text()) == results
    assert {regime: trial_states(workspace, regime) for regime in REGIMES} == before


def test_four_workers_at_once_spend_exactly_the_budget_and_more_workers_add_nothing(
    study_file, tmp_path
):
    study, workspace = study_file(trials=24, epochs_high=3, published_epochs=3), tmp_path / "ws"
    workers = [start_worker(study, workspace) for _ in range(4)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0, 0, 0]
    for regime in REGIMES:
        states = trial_states(workspace, regime)
        assert states.total() == 24
        assert set(states) <= {"COMPLETE", "PRUNED"}
    late = [start_worker(study, workspace) for _ in range(2)]
    assert [worker.wait(timeout=120) for worker in late] == [0, 0]
    assert all(trial_states(workspace, regime).total() == 24 for regime in REGIMES)


def test_a_killed_worker_costs_no_trial(study_file, tmp_path):
    study = study_file(trials=8, epochs_high=40, published_epochs=40, lease=3)
    workspace = tmp_path / "ws"
    victim = start_worker(study, workspace)
    wait_for_a_running_trial(study, workspace)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    survivors = [start_worker(study, workspace) for _ in range(2)]
    assert [worker.wait(timeout=300) for worker in survivors] == [0, 0]
    for regime in REGIMES:
        states = trial_states(workspace, regime)
        assert states.total() == 8
        assert set(states) <= {"COMPLETE", "PRUNED"}
    status = json.loads(ecgopt("status", study, "--workspace", workspace, "--json").stdout)
    assert status["total_losses"] >= 1


def wait_for_a_running_trial(study, workspace, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        asked = ecgopt("status", study, "--workspace", workspace, "--json")
        if asked.returncode == 0:
            stages = {stage["kind"]: stage for stage in json.loads(asked.stdout)["stages"]}
            if stages.get("trial", {}).get("running"):
                return
        time.sleep(0.1)
    raise AssertionError("no trial began")


def test_two_identical_arms_differ_by_exactly_zero_and_never_win(study_file, tmp_path):
    study = study_file(regimes='["scratch", "scratch_twin"]', own="", final_seeds=2)
    workspace, out = tmp_path / "ws", tmp_path / "out"
    done = ecgopt("run", study, "--workers", 1, "--workspace", workspace, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "Undecided: scratch (twin) minus scratch is 0.000 [0.000, 0.000]" in done.stdout
    answer = ecgopt("answer", study, "--workspace", workspace)
    assert "wins" not in answer.stdout


def test_a_stopped_worker_gives_its_item_back_and_leaves_with_0(study_file, tmp_path):
    study = study_file(trials=4, epochs_high=400, published_epochs=400)
    workspace = tmp_path / "ws"
    worker = start_worker(study, workspace)
    wait_for_a_running_trial(study, workspace)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    status = json.loads(ecgopt("status", study, "--workspace", workspace, "--json").stdout)
    assert {stage["kind"]: stage["running"] for stage in status["stages"]}["trial"] == 0
    assert status["total_losses"] == 0


def test_an_interrupted_run_says_how_to_go_on_and_loses_nothing(study_file, tmp_path):
    study = study_file(trials=4, epochs_high=400, published_epochs=400)
    workspace = tmp_path / "ws"
    run = start_run(study, workspace)
    wait_for_a_running_trial(study, workspace)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=90)
    assert run.returncode == 130
    assert "stopping: the worker finishes its epoch and saves" in errors
    assert "run the same command again to resume" in errors
    status = json.loads(ecgopt("status", study, "--workspace", workspace, "--json").stdout)
    assert status["total_losses"] == 0
    assert all(stage["running"] == 0 for stage in status["stages"])
