"""Every launcher plans without a trace, places workers, polls them and stops them cleanly."""

import shutil

import pytest
from documents import ROOT, blocks
from plain_optuna import assert_exact_budget
from slurm_cluster import SlurmCluster, missing
from sqlalchemy import select
from tiny_study import begin
from watching import wait_for, watched

from ecgopt.database.tables import work_item
from ecgopt.database.url import STORAGE_VARIABLE
from ecgopt.launchers.contract import LAUNCHERS, Launch, Resources, find_launcher
from ecgopt.launchers.launch import launch_study
from ecgopt.queue.heartbeats import workers_seen
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace

pytestmark = [pytest.mark.server, pytest.mark.chaos]

OUTSIDE = "polite:PoliteLauncher"
TRIALS = 3


@pytest.fixture(scope="module")
def slurm_cluster():
    if reason := missing():
        pytest.skip(reason)
    with SlurmCluster() as started:
        yield started


@pytest.fixture
def polite(tmp_path, monkeypatch):
    """Save the module of the how-to page where it can be imported, also by workers."""
    if shutil.which("nice") is None:
        pytest.skip("no `nice` on this machine")
    (code,) = (b for b in blocks(ROOT / "docs" / "how-to" / "own-launcher.md") if b.file)
    (tmp_path / code.file).write_text(code.text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture(params=[*LAUNCHERS, OUTSIDE])
def launcher(request, monkeypatch):
    """Return a launcher, whose cluster runs on this machine; it is stopped at the end."""
    if request.param == "slurm":
        cluster = request.getfixturevalue("slurm_cluster")
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
    elif request.param == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    elif request.param == OUTSIDE:
        request.getfixturevalue("polite")
    # Slurm's launcher sets it for this process, and no later test may find it.
    monkeypatch.setenv(STORAGE_VARIABLE, "")
    monkeypatch.delenv(STORAGE_VARIABLE)
    found = find_launcher(request.param)()
    yield found
    found.stop()


@pytest.fixture
def resources():
    return Resources(workers=2, gpus_per_worker=0, memory_gb=0.5)


def test_a_plan_says_what_would_start_and_leaves_nothing(
    launcher, study_file, tmp_path, sqlite_url, resources
):
    study, workspace = study_file(), Workspace(tmp_path / "ws")
    before = sorted(tmp_path.rglob("*"))
    launch = Launch.of(study, load_spec(study), workspace, sqlite_url)
    assert launcher.plan(launch, resources).strip()
    assert sorted(tmp_path.rglob("*")) == before


def test_workers_run_a_study_to_its_end(study_file, tmp_path, sqlite_url, launcher, resources):
    workspace = Workspace(tmp_path / "ws")
    assert launch_study(study_file(trials=TRIALS), workspace, sqlite_url, launcher, resources)
    assert not launcher.poll()
    assert_exact_budget(sqlite_url, TRIALS)


def test_stopped_workers_save_and_give_their_items_back(
    study_file, tmp_path, sqlite_url, launcher, resources
):
    study = study_file(trials=TRIALS, epochs_high=400, published_epochs=400)
    launch = Launch.of(study, load_spec(study), Workspace(tmp_path / "ws"), sqlite_url)
    database = begin(study, tmp_path / "ws", sqlite_url).database
    launcher.submit(launch, resources)
    with watched(sqlite_url) as seen:
        wait_for(lambda: launcher.poll() and seen.in_trials(), "a worker in a trial")
    launcher.stop()
    assert not launcher.poll()
    assert workers_seen(database, "tiny") == []
    with database.transaction() as connection:
        rows = connection.execute(select(work_item)).all()
    assert {row.state for row in rows} <= {"free", "done"}
    assert sum(row.total_failures for row in rows) == 0
    launcher.stop()
