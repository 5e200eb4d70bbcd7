"""`ecgopt launch` before any cluster is asked."""

import shutil
import sys

import pytest
from processes import ecgopt

from ecgopt.cli import launch
from ecgopt.errors import LaunchError
from ecgopt.launchers.resources import RayPlacement, SlurmPlacement


@pytest.mark.parametrize(("verb", "module"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    verb, module, study_file, monkeypatch
):
    for name in list(sys.modules):
        if name == f"ecgopt.launchers.{verb}" or name.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LaunchError, match=rf"pip install 'ecgopt\[{verb}\]'"):
        getattr(launch, verb)(study_file(), workers=1)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"cpus": 0}, "--cpus must be at least 1, but is 0"),
        ({"grace_seconds": 600, "time_minutes": 10}, "time limit of 10 minutes, but is 600"),
    ],
)
def test_a_job_that_slurm_could_not_run_is_refused(settings, rule):
    with pytest.raises(LaunchError, match=rule):
        SlurmPlacement(**settings)


def test_one_worker_uses_at_most_one_gpu_of_ray():
    with pytest.raises(LaunchError, match="a worker uses one GPU"):
        RayPlacement(gpus_per_worker=2)


def test_a_dry_run_prints_the_script_and_leaves_nothing_behind(study_file, tmp_path):
    if shutil.which("srun") is None:
        pytest.skip("submitit looks for Slurm's `srun`, which is not installed")
    workspace = tmp_path / "ws"
    printed = ecgopt(
        "launch", "slurm", study_file(), "--workers", 3, "--workspace", workspace, "--gres",
        "gpu:1", "--grace-seconds", 90, "--sbatch.constraint", "a100", "--dry-run",
        ECGOPT_STORAGE="postgresql+psycopg://me:geheim@db.example.org/ecg",
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert lines[0] == "#!/bin/bash"
    for option in ("array=0-2%3", "requeue", "signal=USR2@90", "gres=gpu:1", "constraint=a100"):
        assert f"#SBATCH --{option}" in lines
    assert "geheim" not in printed.stdout
    assert not workspace.exists()


def test_the_place_of_the_token_is_named_where_ray_does_not_answer(monkeypatch):
    ray = pytest.importorskip("ray")
    from ecgopt.launchers.ray import RayWorkers

    def refuse(**_options):
        raise RuntimeError("no cluster")

    monkeypatch.setattr(ray, "init", refuse)
    workers = RayWorkers(
        posting=None, url=None, placement=RayPlacement(address="node:1"), n_workers=1
    )
    with pytest.raises(LaunchError, match="with its token where RAY_AUTH_TOKEN_PATH says"):
        workers.__enter__()
