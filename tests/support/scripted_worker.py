"""Real workers on real databases whose training is a script: everything but the network.

Claims, leases, proposals, reports, pruning, checkpoints and tells are those of production.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny_study import tiny_study

from ecgopt.causes import Cause
from ecgopt.cli.worker_process import stop_on_signals
from ecgopt.comparison.opening import add_work
from ecgopt.dashboard.maintenance import PageMaintenance
from ecgopt.database.engine import open_database, quiet_optuna
from ecgopt.jobs.job import ItemEnd
from ecgopt.jobs.registry import JOBS
from ecgopt.jobs.runs import ArmRuns
from ecgopt.jobs.trial import TrialJob
from ecgopt.jobs.worker import Worker, WorkerSettings, new_owner
from ecgopt.models.registry import ModelSpec, freezable_stages
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.metrics import MacroAuroc
from ecgopt.training.run import EpochResult
from ecgopt.workspace import Workspace

# Looking at a network imports much of torch once a process: here, before workers are forked.
freezable_stages(ModelSpec(name="resnet1d18", width=2))

FATAL_SLOT = "ECGOPT_TEST_FATAL_SLOT"
"""Environment variable: the slot, as `regime/number`, that kills its worker."""


def scripted_study(folder, **replacements):
    """Write a study file of two regimes without pre-training and return its path."""
    # A checkpoint at every scripted epoch would measure how fast the disk can sync. All slots are
    # free from the start, so that many workers race for them.
    defaults = {"own": "", "epochs_high": 10, "checkpoint": 0.3, "lag": '"free"'}
    defaults["regimes"] = '["scratch", "scratch_twin"]'
    path = Path(folder) / "study.toml"
    path.write_text(tiny_study(**defaults | replacements))
    return path


def begin_scripted(study, url):
    """Create studies and work items, without any data, and return spec and database."""
    quiet_optuna()
    spec, database = load_spec(study), open_database(url)
    begin_spec(spec, database)
    return spec, database


def begin_spec(spec, database):
    """Create a comparison's studies and work items, without any data."""
    from sqlalchemy import insert

    from ecgopt.database.tables import comparison, create_tables

    create_tables(database)
    with database.transaction() as connection:
        connection.execute(
            insert(comparison).values(
                name=spec.name,
                content=json.dumps(spec.scientific_content()),
                prepared="{}",
                provenance="{}",
                folder=spec.name,
                created_at=0.0,
            )
        )
    add_work(database, spec)


@dataclass
class ScriptedRun:
    """Epochs whose score is a fixed function of seed and epoch."""

    seed: int
    n_epochs: int
    epoch_seconds: float
    precision: str = "fp32"
    n_done: int = 0

    def epochs(self):
        while self.n_done < self.n_epochs:
            time.sleep(self.epoch_seconds)
            self.n_done += 1
            yield EpochResult(
                epoch=self.n_done,
                train_loss=1.0,
                validation=MacroAuroc(value=self.score(self.n_done), per_label=[0.5], left_out=()),
                validation_loss=1.0,
                n_samples=1,
                seconds=self.epoch_seconds,
            )

    def score(self, epoch):
        return scripted_score(self.seed, epoch)

    def state(self):
        return {"seed": torch.tensor([self.seed % 1000])}, {"n_done": self.n_done}

    def restore(self, tensors, metadata):
        self.n_done = metadata["n_done"]


def scripted_score(seed, epoch):
    return round(0.5 + (seed % 997) / 3000 + epoch / 100, 9)


CPU = torch.device("cpu")


@dataclass(frozen=True)
class ScriptedArms:
    """Builds scripted runs where production builds networks."""

    spec: StudySpec
    workspace: Workspace
    epoch_seconds: float
    device: torch.device = CPU
    folder: str = "tiny"

    epochs = ArmRuns.epochs
    discard_checkpoints = ArmRuns.discard_checkpoints

    def build(self, key, recipe, *, seed, evaluate_after):
        return ScriptedRun(seed, recipe.n_epochs, self.epoch_seconds), 0.0


class ScriptedTrials(TrialJob):
    """Trials, one of which may be fatal to its worker."""

    def run(self, lease, stop):
        study, slot = lease.claim.payload["study"], lease.claim.payload["slot"]
        if os.environ.get(FATAL_SLOT) == f"{study['regime']}/{slot}":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(lease, stop)


class NothingToDo:
    """Closes an item immediately."""

    def run(self, lease, stop):
        return ItemEnd(cause=Cause.DONE, result={})

    def give_up(self, lease, cause, reason):
        pass


def work_scripted(
    study,
    url,
    workspace,
    *,
    stop,
    arms=ScriptedArms,
    epoch_seconds=0.02,
    max_failures=3,
    poll_seconds=0.2,
    maintenance=False,
):
    """Work as one worker until nothing is left; return how many items were closed.

    `arms` plays the training. With `maintenance`, update the dashboard's pages between items.
    """
    quiet_optuna()
    spec, database = load_spec(Path(study)), open_database(url, patience_seconds=60.0)
    trials = ScriptedTrials(database, arms(spec, Workspace(Path(workspace)), epoch_seconds))
    worker = Worker(
        database=database,
        jobs={kind: NothingToDo() for kind in JOBS} | {"trial": trials},
        settings=WorkerSettings(
            comparison=spec.name,
            lease_seconds=spec.workers.lease_seconds,
            stall_seconds=spec.workers.stall_seconds,
            max_failures=max_failures,
            poll_seconds=poll_seconds,
        ),
        owner=os.environ.get("ECGOPT_OWNER") or new_owner(),
        stop_event=stop,
    )
    if maintenance:
        pages = PageMaintenance(database, Workspace(Path(workspace)), spec.name)
        worker.after_item, worker.at_end = pages.after_item, pages.at_end
    try:
        return worker.work()
    finally:
        database.engine.dispose()


def main(study, url, workspace, log, options):
    """Be a worker process, its log in a file of its own."""
    logging.basicConfig(filename=log, level=logging.INFO, format="%(message)s", force=True)
    stop = threading.Event()
    stop_on_signals(stop)
    work_scripted(study, url, workspace, stop=stop, **options)


if __name__ == "__main__":
    main(sys.argv[1], os.environ["ECGOPT_STORAGE"], sys.argv[2], None, {})
