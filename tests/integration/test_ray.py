"""Workers as actors of a real Ray with two simulated nodes, started here."""

import json
import os
import signal

import pytest
from plain_optuna import assert_exact_budget
from processes import ecgopt, running
from ray_cluster import RayCluster
from secret_places import places_of
from watching import wait_for, watched

pytestmark = [pytest.mark.server, pytest.mark.chaos]

TRIALS = 4


def test_a_node_lost_in_mid_trial_costs_no_trial(study_file, tmp_path, postgres, postgresql_url):
    study = study_file(trials=TRIALS, epochs_high=30, published_epochs=30, lease=3)
    environment = {"ECGOPT_STORAGE": postgresql_url, "ECGOPT_WORKSPACE": str(tmp_path / "ws")}
    with RayCluster() as cluster, watched(postgresql_url) as seen:
        command = ("launch", "ray", study, "--workers", 2, "--address", cluster.address)
        with running(*command, **cluster.environment, **environment) as launcher:
            wait_for(lambda: len(seen.in_trials()) == 2, "two workers in trials")
            assert not places_of(postgres.password, cluster.folder, tmp_path)
            cluster.remove_node()
            output, errors = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, errors
    assert "finished" in output
    assert_exact_budget(postgresql_url, TRIALS)
    status = json.loads(ecgopt("status", study, "--json", **environment).stdout)
    assert status["total_losses"] >= 1


def test_a_lost_head_lets_the_workers_save_and_says_what_to_do(study_file, tmp_path, sqlite_url):
    study = study_file(trials=TRIALS, epochs_high=400, published_epochs=400)
    options = ("--workspace", tmp_path / "ws", "--storage", sqlite_url)
    with RayCluster() as cluster, watched(sqlite_url) as seen:
        command = ("launch", "ray", study, "--workers", 2, "--address", cluster.address, *options)
        with running(*command, **cluster.environment) as launcher:
            wait_for(lambda: len(seen.in_trials()) == 2, "two workers in trials")
            cluster.kill_head()
            _, errors = launcher.communicate(timeout=200)
    assert launcher.returncode == 2, errors
    assert "start Ray again, and run the same command again to resume" in errors
    status = json.loads(ecgopt("status", study, *options, "--json").stdout)
    assert status["total_losses"] == 0
    assert all(stage["running"] == 0 for stage in status["stages"])


def test_ctrl_c_lets_the_actors_save_and_loses_nothing(study_file, tmp_path, sqlite_url):
    study = study_file(trials=TRIALS, epochs_high=400, published_epochs=400)
    options = ("--workspace", tmp_path, "--storage", sqlite_url)
    command = ("launch", "ray", study, "--workers", 1, *options)
    with watched(sqlite_url) as seen, running(*command) as launcher:
        wait_for(seen.in_trials, "a worker in a trial")
        os.killpg(launcher.pid, signal.SIGINT)  # as a terminal does, to everybody
        _, errors = launcher.communicate(timeout=200)
    assert launcher.returncode == 130, errors
    status = json.loads(ecgopt("status", study, *options, "--json").stdout)
    assert status["total_losses"] == 0
    assert all(stage["running"] == 0 for stage in status["stages"])
