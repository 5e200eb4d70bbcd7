"""Trials per hour of a whole small study, against a plain script that runs the same trials.

The study is that of small_study.py. Each round has a seed of its own. ecgopt runs first, as the
command that users type; the plain script then pre-trains, and trains with the values which that run
drew, on the same records. Time runs from the start of the first process to the end of the last
trial, imports, database and leases included; the records are prepared before.

The best of many scores on the records that chose it is too good, the more so the more a side's
scores spread. So each side then trains its winners again, with fresh seeds, and scores them on
patients that neither side chose by.

    ECGOPT_DATA=... python -m benchmarks.study [--trials 20] [--rounds 8] [--unpruned]

plain:   one process, a thread per core, float32 Conv1d, DataLoader, scikit-learn's AUROC
ecgopt:  `ecgopt run` with a worker of one thread per core
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path

import optuna
import torch
from sqlalchemy import func, select

from benchmarks.contest import ratio
from benchmarks.equivalence import mean_difference
from benchmarks.plain_script import PlainResNet
from benchmarks.small_study import (
    FINAL_SEEDS,
    WIDTH,
    plain_test_score,
    sealed_records,
    train_plainly,
    written_study,
)
from ecgopt.data.splits import TuningData
from ecgopt.database.comparisons import stored_comparison
from ecgopt.database.engine import Database, open_database, quiet_optuna
from ecgopt.database.optuna.trial_rows import RECIPE
from ecgopt.database.tables import work_item
from ecgopt.jobs.configuration import RecipeKind, arm_recipe
from ecgopt.jobs.datasets import PreparedData, prepare_data
from ecgopt.study_file.cells import StudyKey, expand_studies, study_name
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Recipe
from ecgopt.workspace import Workspace

N_CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class WinnerScores:
    """The macro AUROC of an arm's winner."""

    validation: float
    """Of the trial, on the records that chose it."""
    test: float
    """On patients that nothing was chosen by: the mean of the fits with fresh seeds."""


Winners = dict[str, WinnerScores]
"""By regime."""


def run_ecgopt(study: Path, workspace: Workspace) -> tuple[float, Winners]:
    """Return the seconds from the start of `ecgopt run` to the end of its last trial, and winners.

    The command goes on after its last trial: with the fits that score the winners, which are not
    timed on either side, and with checks and a report, which the plain script lacks.
    """
    out = workspace.root / "out"
    command = [sys.executable, "-m", "ecgopt", "run", str(study), "--workers", str(N_CORES)]
    command += ["--workspace", str(workspace.root), "--out", str(out)]
    started = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    last = select(func.max(work_item.c.finished_at)).where(work_item.c.kind == "trial")
    with _database(workspace).transaction() as connection:
        seconds = float(connection.execute(last).scalar_one()) - started
    (cell,) = json.loads((out / "results.json").read_text())["cells"]
    return seconds, {
        regime: WinnerScores(
            validation=arm["replicates"][0]["winner"]["validation_macro_auroc"],
            test=arm["test_score"],
        )
        for regime, arm in cell["regimes"].items()
    }


def run_plain(study: Path, workspace: Workspace) -> tuple[float, Winners]:
    """Return the seconds from the plain script's start to its last trial's end, and winners."""
    command = [sys.executable, __file__, "--plain", str(study), str(workspace.root)]
    started = time.time()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    winners = {regime: WinnerScores(**scores) for regime, scores in found["winners"].items()}
    return found["last_trial_ended"] - started, winners


def plain_script(study: Path, workspace: Workspace) -> None:
    """Train what `ecgopt run` trained; print when that ended, and the winner of each arm."""
    spec, database = load_spec(study), _database(workspace)
    stored = stored_comparison(database, spec.name)
    assert stored is not None
    data = PreparedData(spec=spec, workspace=workspace, folders=stored.prepared)
    torch.manual_seed(spec.seed)
    upstream = data.upstream("upstream")
    pretrained = PlainResNet(len(upstream.train.classes), WIDTH)
    train_plainly(pretrained, upstream, spec.pretrain.recipe())

    def trained(key: StudyKey, downstream: TuningData, recipe: Recipe) -> tuple[PlainResNet, float]:
        model = PlainResNet(len(downstream.train.classes), WIDTH)
        if key.upstream:
            model.stages.load_state_dict(pretrained.stages.state_dict())
        return model, train_plainly(model, downstream, recipe)

    best = []
    for key in expand_studies(spec):
        (downstream,), _ = data.downstream(key)
        tried = [
            (trained(key, downstream, recipe)[1], recipe)
            for recipe in _recipes(spec, key, database)
        ]
        best.append((key, downstream, *max(tried, key=itemgetter(0))))
    last_trial_ended = time.time()
    winners = {}
    sealed = sealed_records(data, "downstream")
    for key, downstream, validation, recipe in best:
        tests = [
            plain_test_score(trained(key, downstream, recipe)[0], sealed)
            for _ in range(FINAL_SEEDS)
        ]
        winners[key.regime] = asdict(WinnerScores(validation, statistics.mean(tests)))
    print(json.dumps({"last_trial_ended": last_trial_ended, "winners": winners}))


def _recipes(spec: StudySpec, key: StudyKey, database: Database) -> Iterator[Recipe]:
    """Yield what the trials of a finished study were to train, in their order."""
    for trial in _study(spec, key, database).trials:
        kind: RecipeKind = "published" if trial.user_attrs[RECIPE] == "published" else "tuned"
        yield arm_recipe(spec, key, kind, trial.params)


def _study(spec: StudySpec, key: StudyKey, database: Database) -> optuna.Study:
    return optuna.load_study(study_name=study_name(spec.name, key), storage=database.optuna)


def _database(workspace: Workspace) -> Database:
    return open_database(f"sqlite:///{workspace.sqlite_file}")


def shown(winners: Winners) -> str:
    """Return the arms' scores in words."""
    return ", ".join(
        f"{regime} {score.validation:.4f} (test {score.test:.4f})"
        for regime, score in winners.items()
    )


def print_equality(found: Mapping[str, list[Winners]]) -> None:
    """Print what ecgopt's winners score beyond the plain script's, with intervals over rounds."""
    pairs = list(zip(found["ecgopt"], found["plain"], strict=True))
    for regime in pairs[0][0]:
        on_validation = [a[regime].validation - b[regime].validation for a, b in pairs]
        on_test = mean_difference([a[regime].test - b[regime].test for a, b in pairs])
        print(f"{regime} winner, ecgopt - plain: test {on_test}: {on_test.verdict}")
        print(f"  (on the records that chose it {mean_difference(on_validation)})")


def main() -> None:
    """Run both sides in turns and print their trials per hour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="per arm")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--unpruned", action="store_true", help="train all trials to their end")
    parser.add_argument("--skip-plain", action="store_true", help="only ecgopt's side")
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    quiet_optuna()
    if arguments.plain:
        study, root = arguments.plain
        plain_script(study, Workspace(root))
        return
    n_trials = 2 * arguments.trials
    print(f"{n_trials} trials a side, {N_CORES} cores, load {os.getloadavg()[0]:.2f}")
    seconds: dict[str, list[float]] = {}
    found: dict[str, list[Winners]] = {}

    def note(side: str, taken: float, winners: Winners) -> None:
        seconds.setdefault(side, []).append(taken)
        found.setdefault(side, []).append(winners)
        print(f"  {side:6s} {taken:6.1f} s, winners: {shown(winners)}", flush=True)

    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        # A workspace of its own each time: features kept by an earlier round would be a gift.
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder))
            study = written_study(
                workspace.root, seed=seed, n_trials=arguments.trials, prunes=not arguments.unpruned
            )
            prepare_data(load_spec(study), workspace, n_processes=N_CORES)
            note("ecgopt", *run_ecgopt(study, workspace))
            if not arguments.skip_plain:
                note("plain", *run_plain(study, workspace))
    for side, values in seconds.items():
        print(f"{side:6s} {3600 * n_trials / statistics.median(values):6,.0f} trials per hour")
    if not arguments.skip_plain:
        middle, low, high = ratio(seconds, "plain", "ecgopt")
        print(f"ratio {middle:.2f} (rounds {low:.2f} to {high:.2f}), target 3")
        print_equality(found)


if __name__ == "__main__":
    main()
