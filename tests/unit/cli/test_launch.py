"""`ecgopt launch` before any cluster is asked."""

import shutil
import sys

import pytest
from processes import ecgopt

from ecgopt.cli import launch
from ecgopt.errors import LaunchError, UserError
from ecgopt.launchers.contract import Launch, Resources, find_launcher
from ecgopt.launchers.slurm import SlurmLauncher
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace


@pytest.fixture
def launch_of(study_file, tmp_path):
    """Return a function that returns the launch of a tiny study."""

    def build(storage=None):
        study = study_file()
        return Launch.of(study, load_spec(study), Workspace(tmp_path / "ws"), storage)

    return build


@pytest.mark.parametrize(("verb", "module"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    verb, module, study_file, monkeypatch
):
    for name in list(sys.modules):
        if name.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LaunchError, match=rf"pip install 'ecgopt\[{verb}\]'"):
        launch.app([verb, str(study_file()), "--workers", "1"])


@pytest.mark.parametrize(
    ("resources", "rule"),
    [
        ({"workers": 0}, "--workers must be at least 1, but is 0"),
        ({"cpus_per_worker": -1}, "--cpus-per-worker must be at least 0, but is -1"),
        ({"gpus_per_worker": 2}, "a worker uses one GPU, but is 2"),
        ({"memory_gb": 0}, "--memory-gb must be above 0, but is 0"),
        ({"time_limit_minutes": float("nan")}, "--time-limit-minutes must be above 0, but is nan"),
    ],
)
def test_resources_out_of_range_are_refused_by_their_option(resources, rule):
    with pytest.raises(LaunchError, match=rule):
        Resources(**resources)


@pytest.mark.parametrize(
    ("launcher", "resources", "rule"),
    [
        ({"grace_seconds": 600}, {"time_limit_minutes": 10}, "time limit of 10 minutes, but is"),
        ({}, {"gpus_per_worker": 0.5}, "--gpus-per-worker must be a whole number on Slurm"),
        ({}, {"workers": None}, "--workers is missing"),
    ],
)
def test_a_job_that_slurm_could_not_run_is_refused(launcher, resources, rule):
    with pytest.raises(LaunchError, match=rule):
        SlurmLauncher(**launcher).plan(None, Resources(**{"workers": 1, **resources}))


def test_a_name_that_is_no_launcher_is_refused():
    with pytest.raises(UserError, match="did you mean 'slurm'"):
        find_launcher("slurn")
    with pytest.raises(UserError, match="must be a class with is_detached, plan, submit"):
        find_launcher("pathlib:Path")


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


def test_the_place_of_the_token_is_named_where_ray_does_not_answer(monkeypatch, launch_of):
    ray = pytest.importorskip("ray")
    from ecgopt.launchers.ray import RayLauncher

    def refuse(**_options):
        raise RuntimeError("no cluster")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(LaunchError, match="with its token where RAY_AUTH_TOKEN_PATH says"):
        RayLauncher(address="node:1").submit(launch_of(), Resources(workers=1))
