"""How fast training is, against what one would write without ecgopt, on real records.

All sides train the same ResNet1d18 on the same records, the same number of them per turn, on all
cores: ecgopt as it runs trials, one process of one thread per core, the others as one writes such a
script, one process with a thread per core. Since the latter suffers more on a busy machine, (a) is
also run the way of ecgopt. They take turns in one run, so only the ratios count.

    ECGOPT_DATA=... python -m benchmarks.training [--rounds 5] [--records 384]

(a) plain Optuna + PyTorch script: float32, Conv1d, preloaded array, Adam, batch 64
(b) the same, with wfdb in `__getitem__`
(c) the published study's loop, written anew: float64, batch 256
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Contestant, print_ratios, ratio, seconds_per_turn
from benchmarks.plain_script import LazyRecords, PlainResNet, preloaded, scores, train_epochs
from benchmarks.real_records import first_records, millivolts, prepared_records, record_paths
from ecgopt.data.prepared import open_prepared
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun, predict
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Recipe

CPU = torch.device("cpu")
N_CORES = os.cpu_count() or 1
# Many more epochs than turns, so that no turn includes the final evaluation.
RECIPE = Recipe(learning_rate=1e-3, n_epochs=10_000, precision="bf16")


def ours(
    folder: Path, width: int, n: int, n_frozen_stages: int = 0, cache: Path | None = None
) -> Iterator[Any]:
    """Return epochs of a trial as a worker runs it."""
    data = first_records(open_prepared(folder), n)
    model = build_model(ModelSpec(width=width), n_labels=data.train.labels.shape[1], seed=0)
    recipe = replace(RECIPE, n_frozen_stages=n_frozen_stages)
    run = TrainingRun(
        model,
        data,
        recipe,
        seed=0,
        device=CPU,
        evaluate_after=(),
        prefix_cache=None if cache is None else PrefixCache(cache),
    )
    return run.epochs()


def ours_evaluating(folder: Path, width: int, n: int) -> Iterator[Any]:
    """Yield predictions of all records."""
    data = first_records(open_prepared(folder), n).train
    model = build_model(ModelSpec(width=width), n_labels=data.labels.shape[1], seed=0)
    while True:
        yield predict(model, data, device=CPU)


def plain(folder: Path, width: int, n: int, n_frozen_stages: int = 0) -> Iterator[Any]:
    """Return epochs of (a)."""
    data = first_records(open_prepared(folder), n).train
    records = preloaded(millivolts(data), data.labels, torch.float32)
    return train_epochs(
        PlainResNet(data.labels.shape[1], width),
        records,
        batch_size=64,
        learning_rate=1e-3,
        n_frozen_stages=n_frozen_stages,
    )


def plain_evaluating(folder: Path, width: int, n: int) -> Iterator[Any]:
    """Yield predictions of all records by (a)."""
    data = first_records(open_prepared(folder), n).train
    model = PlainResNet(data.labels.shape[1], width)
    signals = torch.tensor(millivolts(data), dtype=torch.float32)
    while True:
        yield scores(model, signals)


def lazy(folder: Path, width: int, n: int) -> Iterator[Any]:
    """Return epochs of (b)."""
    prepared = open_prepared(folder)
    data = first_records(prepared, n).train
    records = LazyRecords(record_paths(prepared, data.rows), data.labels, torch.float32)
    model = PlainResNet(data.labels.shape[1], width)
    return train_epochs(model, records, batch_size=64, learning_rate=1e-3)


def published(folder: Path, width: int, n: int) -> Iterator[Any]:
    """Return epochs of (c)."""
    data = first_records(open_prepared(folder), n).train
    records = preloaded(millivolts(data), data.labels, torch.float64)
    model = PlainResNet(data.labels.shape[1], width).double()
    return train_epochs(model, records, batch_size=256, learning_rate=1e-2)


def alone(turns: Any, **arguments: Any) -> Contestant:
    """Return one process with a thread per core."""
    return Contestant(turns=turns, arguments=arguments, n_threads=N_CORES)


def side_by_side(turns: Any, **arguments: Any) -> Contestant:
    """Return one process per core, each of one thread."""
    return Contestant(turns=turns, arguments=arguments, n_processes=N_CORES)


def compare_training(folder: Path, n: int, n_rounds: int) -> None:
    """Print training throughput on all cores."""
    for width, targets in (
        (64, {"(a) plain": 1.8, "(b) lazy wfdb": 2.5, "(c) published": 8.0}),
        (16, {"(a) plain": 2.0, "(b) lazy wfdb": 8.0}),
    ):
        work = {"folder": folder, "width": width, "n": n}
        contestants = {
            "(a) plain": alone(plain, **work),
            "(a) twice, a thread each": side_by_side(plain, **work),
            "(b) lazy wfdb": alone(lazy, **work),
            "(c) published": alone(published, **work),
            "ecgopt": side_by_side(ours, **work),
        }
        if width == 16:
            del contestants["(c) published"]
        seconds = seconds_per_turn(contestants, n_rounds=n_rounds)
        print(f"training, ResNet1d18 width {width}, {n} records per turn")
        print_ratios(seconds, "ecgopt", targets, n)
        middle, low, high = ratio(seconds, "(a) twice, a thread each", "ecgopt")
        print(f"  against (a) twice, a thread each: {middle:.2f}x ({low:.2f} to {high:.2f})")


def compare_freezing(folder: Path, n: int, n_rounds: int) -> None:
    """Print what kept features gain over frozen epochs written the usual way."""
    for width in (64, 16):
        for n_frozen, target in ((5, 10.0), (4, 1.2)):
            with tempfile.TemporaryDirectory() as cache:
                work = {"folder": folder, "width": width, "n": n, "n_frozen_stages": n_frozen}
                contestants = {
                    "naive frozen": Contestant(turns=plain, arguments=work),
                    "frozen, not kept": Contestant(turns=ours, arguments=work),
                    "kept features": Contestant(
                        turns=ours, arguments={**work, "cache": Path(cache)}
                    ),
                }
                seconds = seconds_per_turn(contestants, n_rounds=n_rounds)
            print(f"frozen epochs, width {width}, first {n_frozen} of 5 stages, one thread each")
            print_ratios(seconds, "kept features", {"naive frozen": target}, n)
            middle, _, _ = ratio(seconds, "frozen, not kept", "kept features")
            print(f"  the cache alone, in the same engine: {middle:.2f}x")


def compare_evaluation(folder: Path, n: int, n_rounds: int) -> None:
    """Print what fusing gains in evaluation."""
    for width in (64, 16):
        work = {"folder": folder, "width": width, "n": n}
        contestants = {
            "Conv1d": Contestant(turns=plain_evaluating, arguments=work),
            "fused": Contestant(turns=ours_evaluating, arguments=work),
        }
        seconds = seconds_per_turn(contestants, n_rounds=n_rounds)
        print(f"evaluation in fp32, width {width}, one thread each")
        print_ratios(seconds, "fused", {"Conv1d": 1.15}, n)


def seconds_before_training(folder: Path, n: int) -> float:
    """Return what a trial costs besides its epochs: model, optimiser, first batch."""
    started = time.monotonic()
    epochs = ours(folder, 16, n)
    next(epochs)
    until_first_epoch = time.monotonic() - started
    steady: float = min(next(epochs).seconds for _ in range(3))
    return until_first_epoch - steady


def compare_start(folder: Path, n: int, n_rounds: int) -> None:
    """Print what the next trial costs in a warm worker, and in a process of its own."""
    torch.set_num_threads(1)
    seconds_before_training(folder, n)
    warm = statistics.median(seconds_before_training(folder, n) for _ in range(n_rounds))
    script = (
        "from pathlib import Path; from benchmarks.training import plain;"
        f" next(plain(Path({str(folder)!r}), 16, 64))"
    )
    cold = []
    for _ in range(n_rounds):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])
        cold.append(time.monotonic() - started)
    print("what a trial costs before its first epoch, width 16")
    print(f"  in a process of its own (64 records trained) {statistics.median(cold):.2f} s")
    print(f"  next trial in a warm worker {warm:.3f} s, target 0.15 s: ", end="")
    print("met" if warm <= 0.15 else "MISSED")


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=384)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_records(Path(folder))
        print(f"{N_CORES} cores, torch {torch.__version__}, {len(prepared)} real PTB-XL records")
        n = min(arguments.records, len(prepared))
        print(f"load of the machine before: {os.getloadavg()[0]:.2f}")
        compare_training(prepared.folder, n, arguments.rounds)
        compare_freezing(prepared.folder, n, arguments.rounds)
        compare_evaluation(prepared.folder, n, arguments.rounds)
        compare_start(prepared.folder, n, arguments.rounds)


if __name__ == "__main__":
    main()
