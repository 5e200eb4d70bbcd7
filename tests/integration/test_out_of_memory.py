"""A trial that does not fit into memory: recorded as such, and its worker goes on."""

import threading

import pytest
import torch
from sqlalchemy import select
from tiny_study import begin

from ecgopt.cli.worker_process import work
from ecgopt.comparison.evidence import load_evidence
from ecgopt.database.tables import work_item
from ecgopt.training.fit import TrainingRun

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def worked(study_file, tmp_path, monkeypatch):
    """Work through a study in which the published recipe's batches are too large."""
    train = TrainingRun.epochs

    def epochs(run):
        if run.recipe.batch_size == 256:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        yield from train(run)

    monkeypatch.setattr(TrainingRun, "epochs", epochs)
    study = study_file(regimes='["scratch", "scratch_twin"]', own="", trials=2)
    opened = begin(study, tmp_path / "ws")
    work(study, opened.workspace.root, stop=threading.Event(), device="cpu")
    return opened


def test_the_worker_goes_on_and_the_failed_items_keep_their_cause(worked):
    with worked.database.transaction() as connection:
        items = {row.key: row for row in connection.execute(select(work_item))}
    assert {item.state for item in items.values()} <= {"done", "set_aside"}
    study = "down/resnet1d18-w2/n60/r0/scratch"
    causes = {key: item.cause for key, item in items.items()}
    assert causes[f"trial/{study}/0000"] == "out_of_memory"
    assert causes[f"trial/{study}/0001"] == "done"
    assert causes[f"final/{study}/tuned/00"] == "done"
    assert causes[f"final/{study}/published/00"] == "out_of_memory"


def test_the_report_counts_the_trial_as_failed_and_names_the_final_fits_that_are_missing(worked):
    url = f"sqlite:///{worked.workspace.sqlite_file}"
    evidence = load_evidence(worked.spec, worked.workspace, url)
    budget = [t for s in evidence.studies for t in s.trials if t.recipe in ("published", "tuned")]
    assert {(trial.number, trial.state, trial.cause) for trial in budget} == {
        (0, "failed", "out_of_memory"),
        (1, "complete", "done"),
    }
    assert {final.role for final in evidence.finals} == {"tuned"}
    named = [item for item in evidence.set_aside if item["item"].startswith("final/")]
    assert {item["cause"] for item in named} == {"out_of_memory"}
    assert all("2.00 GiB" in item["detail"] for item in named)
