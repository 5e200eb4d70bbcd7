"""Workers as jobs of a real Slurm of one node, started here."""

import json
import os
import re
import signal

import pytest
from plain_optuna import assert_exact_budget
from processes import ecgopt
from secret_places import places_of
from slurm_cluster import SlurmCluster, missing
from watching import wait_for, watched

pytestmark = [pytest.mark.server, pytest.mark.chaos]

TRIALS = 4


@pytest.fixture(scope="module")
def cluster():
    if reason := missing():
        pytest.skip(reason)
    with SlurmCluster() as started:
        yield started


def test_requeued_jobs_lose_nothing_and_the_study_ends_exact(
    cluster, study_file, tmp_path, postgres, postgresql_url
):
    study = study_file(trials=TRIALS, epochs_high=40, published_epochs=40, lease=3)
    workspace = tmp_path / "ws"
    environment = {**cluster.environment, "ECGOPT_STORAGE": postgresql_url}
    launched = ecgopt(
        "launch", "slurm", study, "--workers", 2, "--workspace", workspace,
        "--time-limit-minutes", 30, **environment,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    job = re.search(r"^job (\d+):", launched.stdout, re.MULTILINE)[1]
    both = [f"{job}_0", f"{job}_1"]

    with watched(postgresql_url) as study_seen:
        wait_for(lambda: len(study_seen.in_trials()) == 2, f"two at work; {cluster.logs()}")
        # Pre-emption by Slurm, and the signal that Slurm sends before the time limit.
        cluster.run("scontrol", "requeue", both[0])
        cluster.run("scancel", "--signal=USR2", both[1])
        wait_for(lambda: all(cluster.restarts(each) for each in both), "both jobs again")
        assert not places_of(postgres.password, workspace, *cluster.scripts())
        wait_for(study_seen.is_finished, f"the end of the study; {cluster.logs()}")

    assert_exact_budget(postgresql_url, TRIALS)
    status = ecgopt("status", study, "--workspace", workspace, "--json", **environment)
    assert json.loads(status.stdout)["total_losses"] == 0


def test_a_worker_that_is_killed_is_replaced_in_its_job(
    cluster, study_file, tmp_path, postgres, postgresql_url
):
    study = study_file(trials=TRIALS, epochs_high=40, published_epochs=40, lease=3)
    workspace = tmp_path / "ws"
    environment = {**cluster.environment, "ECGOPT_STORAGE": postgresql_url}
    launched = ecgopt(
        "launch", "slurm", study, "--workers", 1, "--workspace", workspace, **environment
    )
    assert launched.returncode == 0, launched.stderr
    with watched(postgresql_url) as study_seen:
        (seen,) = wait_for(study_seen.in_trials, f"one at work; {cluster.logs()}")
        os.kill(seen.pid, signal.SIGKILL)
        wait_for(study_seen.is_finished, f"the end of the study; {cluster.logs()}")
    assert_exact_budget(postgresql_url, TRIALS)
    status = ecgopt("status", study, "--workspace", workspace, "--json", **environment)
    assert json.loads(status.stdout)["total_losses"] == 1


def test_a_job_that_fails_at_its_start_shows_its_reason(
    cluster, study_file, tmp_path, postgres, postgresql_url
):
    study, workspace = study_file(trials=TRIALS), tmp_path / "ws"
    environment = {**cluster.environment, "ECGOPT_STORAGE": postgresql_url}
    launched = ecgopt(
        "launch", "slurm", study, "--workers", 1, "--gres", "gpu:0", "--workspace", workspace,
        **environment,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr

    def shown():
        status = ecgopt("status", study, "--workspace", workspace, **environment)
        said = " ".join(status.stdout.split())
        return "stopped: --gpus-per-worker 1 needs a GPU, but nvidia-smi" in said and said

    assert ":slurm-" in wait_for(shown, f"the reason; {cluster.logs()}")


def test_sqlite_is_refused_when_slurm_has_other_machines(cluster, study_file, tmp_path):
    launched = ecgopt(
        "launch", "slurm", study_file(), "--workers", 2, "--workspace", tmp_path / "ws",
        "--partition", "wide", **cluster.environment,
    )  # fmt: skip
    assert launched.returncode == 2
    assert "one machine only, but workers may start on elsewhere" in launched.stderr
