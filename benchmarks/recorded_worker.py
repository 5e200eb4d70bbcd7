"""A worker of production code whose training is a recorded learning curve, with a stopwatch.

`recorded_curves.csv` holds the validation macro AUROC at the ten ladder steps of the 277 trials of
`studies/size_ladder.toml` (real PTB-XL records) that ran to their end and reported at every step.
A trial plays one of its own training size and regime, chosen by its seed.
"""

import csv
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from scripted_worker import NothingToDo, ScriptedArms, ScriptedRun
from sqlalchemy import Engine, event

from ecgopt.database.engine import Database, open_database, quiet_optuna
from ecgopt.jobs.job import ItemEnd, Job, read
from ecgopt.jobs.leased_trial import LeasedTrial
from ecgopt.jobs.pruning import LADDER_STEPS
from ecgopt.jobs.registry import JOBS
from ecgopt.jobs.runs import ArmRuns
from ecgopt.jobs.trial import TrialJob, TrialPayload
from ecgopt.jobs.worker import Worker, WorkerSettings
from ecgopt.queue import items
from ecgopt.queue.lease import Lease
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Recipe
from ecgopt.workspace import Workspace

T = TypeVar("T")

STAGES = ("claim", "open", "propose", "report", "prune", "close", "finish")
COLUMNS = (
    "finished_at", "study", "slot", "cause", "statements", "commits", "cpu_seconds",
    *(f"{stage}_{what}" for stage in STAGES for what in ("calls", "cpu", "wall")),
)  # fmt: skip


@cache
def recorded_curves() -> Mapping[tuple[int, str], list[tuple[float, ...]]]:
    """Return the curves by training size and regime."""
    curves: dict[tuple[int, str], list[tuple[float, ...]]] = defaultdict(list)
    with (Path(__file__).parent / "recorded_curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            curve = tuple(float(row[f"step{k}"]) for k in range(1, LADDER_STEPS + 1))
            curves[int(row["n_train"]), row["regime"]].append(curve)
    return curves


@dataclass
class RecordedRun(ScriptedRun):
    """Epochs whose scores are those of a recorded curve."""

    curve: tuple[float, ...] = ()

    def score(self, epoch: int) -> float:
        """Return the score of the tenth of the schedule that the epoch lies in."""
        return self.curve[math.ceil(LADDER_STEPS * epoch / self.n_epochs) - 1]


@dataclass(frozen=True)
class RecordedArms(ScriptedArms):
    """Plays curves where production builds networks."""

    def build(
        self,
        key: StudyKey,
        recipe: Recipe,
        *,
        seed: int,
        evaluate_after: frozenset[int],  # noqa: ARG002 - production's arguments
    ) -> tuple[RecordedRun, float]:
        """Return the run, and the share of its weights that were transferred."""
        curves = recorded_curves()[key.n_train, key.regime]
        curve = curves[seed % len(curves)]
        return RecordedRun(seed, recipe.n_epochs, self.epoch_seconds, curve=curve), 0.0


@dataclass
class Stopwatch:
    """What the stages of one trial after another took in this process."""

    statements: int = 0
    commits: int = 0
    calls: dict[str, list[float]] = field(default_factory=dict)
    _cpu: float = field(default_factory=time.process_time)

    def attend(self, engine: Engine) -> None:
        """Count what goes through the engine."""

        @event.listens_for(engine, "before_cursor_execute")
        def _count_statement(*_: object) -> None:
            self.statements += 1

        @event.listens_for(engine, "commit")
        def _count_commit(_: object) -> None:
            self.commits += 1

    def timed(self, stage: str, function: Callable[..., T]) -> Callable[..., T]:
        """Return the function with a stopwatch around each call.

        The time on the processor is that of the calling thread; with many more workers than
        processors the wall time is mostly a place in the queue for them.
        """

        def call(*arguments: Any, **options: Any) -> T:
            cpu, wall = time.thread_time(), time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                noted = self.calls.setdefault(stage, [0, 0.0, 0.0])
                noted[0] += 1
                noted[1] += time.thread_time() - cpu
                noted[2] += time.perf_counter() - wall

        return call

    def lap(self) -> list[float]:
        """Return what was measured since the last lap, as the last columns of a row."""
        cpu = time.process_time()
        stages = [x for stage in STAGES for x in self.calls.get(stage, (0, 0.0, 0.0))]
        measured: list[float] = [self.statements, self.commits, cpu - self._cpu, *stages]
        self.statements, self.commits, self.calls, self._cpu = 0, 0, {}, cpu
        return measured


class RecordedTrials(TrialJob):
    """Trials, the last of which is remembered until its item is closed."""

    def __init__(self, database: Database, arms: ArmRuns) -> None:
        """Begin with no trial to remember."""
        super().__init__(database, arms)
        self.last: list[Any] = []

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Run the trial and remember its study, slot and cause."""
        end = super().run(lease, stop)
        payload = read(TrialPayload, lease.claim.payload)
        study = payload.study
        name = f"{study.regime}/n{study.n_train}/r{study.replicate}"
        self.last[:] = [name, payload.slot, end.cause.value]
        return end


def work_recorded(
    spec: StudySpec, url: str, folder: Path, number: int, ready: Barrier, epoch_seconds: float
) -> None:
    """Be worker `number`: work until nothing is left; write a row for each trial closed."""
    quiet_optuna()
    torch.set_num_threads(1)
    watch = Stopwatch()
    items.claim = watch.timed("claim", items.claim)
    items.finish = watch.timed("finish", items.finish)
    for stage, name in (
        ("open", "open"),
        ("propose", "begin"),
        ("report", "report"),
        ("prune", "should_prune"),
        ("close", "close"),
    ):
        setattr(LeasedTrial, name, watch.timed(stage, getattr(LeasedTrial, name)))
    database = open_database(url, patience_seconds=120.0)
    watch.attend(database.engine)
    arms = RecordedArms(spec, Workspace(folder / "workspace"), epoch_seconds)
    trials = RecordedTrials(database, cast(ArmRuns, arms))
    jobs: dict[str, Job] = {kind: cast(Job, NothingToDo()) for kind in JOBS}
    jobs[TrialJob.kind] = trials
    with (folder / f"worker-{number}.csv").open("w", newline="", buffering=1) as file:
        rows = csv.writer(file)

        def note_trial() -> None:
            if trials.last:
                rows.writerow([time.time(), *trials.last, *watch.lap()])
                trials.last.clear()

        worker = Worker(
            database=database,
            jobs=jobs,
            settings=WorkerSettings(
                comparison=spec.name,
                lease_seconds=spec.workers.lease_seconds,
                stall_seconds=spec.workers.stall_seconds,
                max_failures=spec.workers.max_failures,
            ),
            owner=f"worker-{number}:{os.getpid()}",
            after_item=note_trial,
        )
        ready.wait()
        watch.lap()
        worker.work()
    database.engine.dispose()
