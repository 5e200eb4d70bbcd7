"""Trials per hour of a whole small study, against a plain script that runs the same trials.

The study: pre-train on one part of the real PTB-XL records, then the same drawn settings for an arm
from scratch and one fine-tuned with 0 to 5 frozen stages, on records of other patients. Each round
has a seed of its own, the same on all sides. Time runs from the start of the first process to the
last score, imports and loading included.

    ECGOPT_DATA=... python benchmarks/study.py [--trials 16] [--rounds 3] [--sides plain ecgopt]

plain:            one process, a thread per core, float32 Conv1d, DataLoader, scikit-learn's AUROC
ecgopt, unpruned: a process of one thread per core, bf16, kept features, the shared database
ecgopt:           the same with its pruning on the ladder of tenths of each trial's schedule
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import Queue, get_context
from pathlib import Path

import numpy as np
import optuna
import torch
from contest import ratio
from optuna.pruners import NopPruner
from plain_script import PlainResNet, preloaded, scores, train_epochs
from real_records import LABELS, prepared_records
from sklearn.metrics import roc_auc_score

from ecgopt.data.labels import label_set
from ecgopt.data.prepared import PreparedSet, open_prepared
from ecgopt.data.splits import EcgDataset, TuningData, dataset, labelled_rows
from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint, transfer
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.pretrain import pretrain
from ecgopt.training.recipe import Recipe
from ecgopt.tuning.storage import open_database

CPU = torch.device("cpu")
UPSTREAM_EPOCHS = 10
N_CORES = os.cpu_count() or 1
ARMS = ("scratch", "fine_tune")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One trial."""

    arm: str
    learning_rate: float
    n_epochs: int
    n_frozen_stages: int


def settings(n_per_arm: int, seed: int) -> list[Setting]:
    """Return the trials of both arms: equal rates and epochs, own frozen stages."""
    generator = np.random.default_rng(seed)
    drawn = [
        (10 ** generator.uniform(-3.5, -2), int(generator.integers(5, 21)), k % 6)
        for k in range(n_per_arm)
    ]
    return [
        Setting(
            arm=arm,
            learning_rate=rate,
            n_epochs=n_epochs,
            n_frozen_stages=frozen if arm == "fine_tune" else 0,
        )
        for arm in ARMS
        for rate, n_epochs, frozen in drawn
    ]


def parts(prepared: PreparedSet) -> tuple[TuningData, TuningData]:
    """Return upstream records (folds 1 to 5) and downstream ones (6 to 8, validated on 9, 10)."""
    labels = label_set(LABELS)
    rows = labelled_rows(prepared, labels)
    folds = prepared.records["fold"].to_numpy()[rows]

    def of(low: int, high: int) -> EcgDataset:
        return dataset(prepared, rows[(folds >= low) & (folds <= high)], labels)

    return TuningData(of(1, 4), of(5, 5)), TuningData(of(6, 8), of(9, 10))


def run_ours(
    folder: Path, spec: ModelSpec, n_per_arm: int, seed: int, *, prunes: bool
) -> dict[str, float]:
    """Return the best validation score of each arm, by worker processes that stay warm."""
    storage = open_database(url(folder)).optuna
    for arm in ARMS:
        optuna.create_study(study_name=arm, storage=storage, direction="maximize")
    for setting in settings(n_per_arm, seed):
        study = optuna.load_study(study_name=setting.arm, storage=storage)
        study.enqueue_trial({}, user_attrs=asdict(setting))
    context = get_context("spawn")
    tasks, done = context.Queue(), context.Queue()
    workers = [
        context.Process(target=work, args=(folder, spec, seed, prunes, tasks, done))
        for _ in range(N_CORES)
    ]
    for worker in workers:
        worker.start()
    # Scratch needs no upstream, so it keeps the other workers busy during pre-training.
    for task in ("pretrain", *["scratch"] * n_per_arm):
        tasks.put(task)
    while done.get() != "pretrain":
        pass
    for task in (*["fine_tune"] * n_per_arm, *[None] * N_CORES):
        tasks.put(task)
    for worker in workers:
        worker.join()
    return {arm: optuna.load_study(study_name=arm, storage=storage).best_value for arm in ARMS}


def url(folder: Path) -> str:
    """Return the address of the study's database."""
    return f"sqlite:///{folder / 'study.db'}"


def work(folder: Path, spec: ModelSpec, seed: int, prunes: bool, tasks: Queue, done: Queue) -> None:
    """Do tasks until there is none left."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    upstream, downstream = parts(open_prepared(folder))
    pruner = optuna.pruners.MedianPruner(4, 3, n_min_trials=4) if prunes else NopPruner()
    storage = open_database(url(folder)).optuna
    while (task := tasks.get()) is not None:
        if task == "pretrain":
            model = build_model(spec, n_labels=upstream.train.labels.shape[1], seed=seed)
            recipe = Recipe(learning_rate=3e-3, n_epochs=UPSTREAM_EPOCHS, precision="bf16")
            pretrained = pretrain(TrainingRun(model, upstream, recipe, seed=seed, device=CPU))
            save_checkpoint(folder / "upstream", pretrained.tensors, pretrained.metadata)
        else:
            study = optuna.load_study(study_name=task, storage=storage, pruner=pruner)
            study.optimize(
                lambda trial: our_trial(folder, spec, seed, downstream, trial), n_trials=1
            )
        done.put(task)


def our_trial(
    folder: Path, spec: ModelSpec, seed: int, data: TuningData, trial: optuna.Trial
) -> float:
    """Return the last validation score of a trial whose setting was enqueued."""
    setting = Setting(**trial.user_attrs)
    model = build_model(spec, n_labels=data.train.labels.shape[1], seed=seed)
    if setting.arm == "fine_tune":
        transfer(model, load_checkpoint(folder / "upstream"))
    recipe = Recipe(
        learning_rate=setting.learning_rate,
        n_epochs=setting.n_epochs,
        n_frozen_stages=setting.n_frozen_stages,
        precision="bf16",
    )
    ladder = {-(-tenth * setting.n_epochs // 10): tenth for tenth in range(1, 11)}
    run = TrainingRun(
        model,
        data,
        recipe,
        seed=seed,
        device=CPU,
        evaluate_after=ladder,
        prefix_cache=PrefixCache(folder / "features"),
    )
    score = 0.0
    for result in run.epochs():
        if result.epoch in ladder:
            score = result.validation_macro_auroc
            trial.report(score, ladder[result.epoch])
            if trial.should_prune():
                raise optuna.TrialPruned
    return score


def run_plain(folder: Path, spec: ModelSpec, n_per_arm: int, seed: int) -> dict[str, float]:
    """Return the best validation score of each arm, as a plain script gets it."""
    torch.manual_seed(seed)
    upstream, downstream = parts(open_prepared(folder))
    pretrained = PlainResNet(upstream.train.labels.shape[1], spec.width)
    plain_epochs(pretrained, upstream, UPSTREAM_EPOCHS, 3e-3, 0)
    best = dict.fromkeys(ARMS, 0.0)
    for trial in settings(n_per_arm, seed):
        model = PlainResNet(downstream.train.labels.shape[1], spec.width)
        if trial.arm == "fine_tune":
            model.stages.load_state_dict(pretrained.stages.state_dict())
        score = plain_epochs(
            model, downstream, trial.n_epochs, trial.learning_rate, trial.n_frozen_stages
        )
        best[trial.arm] = max(best[trial.arm], score)
    return best


def plain_epochs(
    model: PlainResNet, data: TuningData, n_epochs: int, rate: float, n_frozen: int
) -> float:
    """Train, score after every epoch, and return the last score."""

    def signals(part: EcgDataset) -> np.ndarray:
        return part.signals[part.rows] / 1000

    records = preloaded(signals(data.train), data.train.labels, torch.float32)
    held_out = torch.tensor(signals(data.validation), dtype=torch.float32)
    epochs = train_epochs(
        model, records, batch_size=64, learning_rate=rate, n_frozen_stages=n_frozen
    )
    score = 0.0
    for _ in range(n_epochs):
        next(epochs)
        score = float(roc_auc_score(data.validation.labels, scores(model, held_out)))
    return score


def measure(
    side: str, folder: Path, arguments: argparse.Namespace, seed: int
) -> tuple[float, dict[str, float]]:
    """Return the seconds that a side takes in processes of its own, and its winners' scores."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    command += ["--trials", str(arguments.trials), "--seed", str(seed)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--width", str(arguments.width)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return time.monotonic() - started, json.loads(done.stdout)


def shown(rounds: list[dict[str, float]]) -> str:
    """Return the mean score of each arm's winner over the rounds."""
    means = {arm: statistics.mean(scores[arm] for scores in rounds) for arm in ARMS}
    return ", ".join(f"{arm} {score:.4f}" for arm, score in means.items())


SIDES = {
    "plain": run_plain,
    "ecgopt, unpruned": partial(run_ours, prunes=False),
    "ecgopt": partial(run_ours, prunes=True),
}


def main() -> None:
    """Run all sides in turns and print their trials per hour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16, help="per arm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = ModelSpec(width=arguments.width)
    if arguments.side:
        run = SIDES[arguments.side]
        print(json.dumps(run(arguments.folder, spec, arguments.trials, arguments.seed)))
        return
    print(f"width {arguments.width}, {2 * arguments.trials} trials a side", end=", ")
    print(f"{N_CORES} cores, load {os.getloadavg()[0]:.2f}")
    seconds: dict[str, list[float]] = {side: [] for side in arguments.sides}
    best: dict[str, list[dict[str, float]]] = {side: [] for side in arguments.sides}
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        for side, values in seconds.items():
            # A folder of its own each time: features kept by an earlier round would be a gift.
            with tempfile.TemporaryDirectory() as folder:
                prepared = prepared_records(Path(folder))
                taken, scores_of_winners = measure(side, prepared.folder, arguments, seed)
            values.append(taken)
            best[side].append(scores_of_winners)
            print(f"  {side:16s} {taken:6.1f} s, winners: {shown(best[side][-1:])}", flush=True)
    for side, values in seconds.items():
        per_hour = 3600 * 2 * arguments.trials / statistics.median(values)
        middle, low, high = ratio(seconds, "plain", side)
        print(
            f"{side:16s} {per_hour:6,.0f} trials per hour, {middle:.2f}x ({low:.2f}-{high:.2f}), "
            f"winners: {shown(best[side])}"
        )


if __name__ == "__main__":
    main()
