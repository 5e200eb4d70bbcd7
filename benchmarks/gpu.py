"""How fast trials run on a GPU: by batch size, and by the number of trials that share the device.

Prints the device's name, and records per second of one trial with plain and with recorded steps
(CUDA graphs) at several batch sizes and for every network; then the sum over 1, 2, 4 and 8 trials
next to each other. Run it once plainly and
once under the multi-process service (`nvidia-cuda-mps-control -d`) to see what that gains.

    ECGOPT_DATA=... python -m benchmarks.gpu [--peak-tflops 989]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Contestant, seconds_per_turn
from benchmarks.network_cost import macs_by_stage, training_macs
from benchmarks.real_records import first_records, prepared_records
from ecgopt.data.prepared import open_prepared
from ecgopt.models.registry import MODELS, ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Recipe

RECIPE = Recipe(learning_rate=1e-3, n_epochs=10_000, precision="bf16")
FLOPS_PER_MAC = 2
N_ROUNDS = 5


def epochs(
    folder: Path, n: int, network: ModelSpec, batch_size: int, is_captured: bool
) -> Iterator[Any]:
    """Return epochs of a trial on the first GPU; the first two turns record its steps."""
    data = first_records(open_prepared(folder), n)
    model = build_model(network, n_labels=data.train.labels.shape[1], seed=0)
    run = TrainingRun(
        model,
        data,
        replace(RECIPE, batch_size=batch_size),
        seed=0,
        device=torch.device("cuda", 0),
        evaluate_after=(),
        is_captured=is_captured,
    )
    turns = run.epochs()
    next(turns)
    if is_captured:
        yield next(turns)
        if not run.n_recorded_graphs:
            raise SystemExit(f"the steps of {network.name} cannot be recorded")
    yield from turns


def speed(folder: Path, n: int, network: ModelSpec, batch_size: int, is_captured: bool) -> float:
    """Return records per second of one trial in this process."""
    turns = epochs(folder, n, network, batch_size, is_captured)
    next(turns)
    seconds = []
    for _ in range(N_ROUNDS):
        started = time.monotonic()
        next(turns)
        seconds.append(time.monotonic() - started)
    return n / statistics.median(seconds)


def compare(folder: Path, n: int, network: ModelSpec, batch_size: int, peak_tflops: float) -> None:
    """Print the speed of plain and of recorded steps, and the recorded ones' share of the peak."""
    plain, recorded = (speed(folder, n, network, batch_size, each) for each in (False, True))
    macs = training_macs(macs_by_stage(network, n_labels=5), n_frozen_stages=0)
    share = recorded * FLOPS_PER_MAC * macs / (peak_tflops * 1e12)
    print(
        f"  {network.name:12s} width {network.width or 'as published':12} batch {batch_size:4d}  "
        f"{plain:9,.0f} records/s  recorded {recorded:9,.0f}  x {recorded / plain:4.1f}  "
        f"{share:6.2%} of bf16 peak",
        flush=True,
    )


def by_trials(folder: Path, n: int, network: ModelSpec, is_captured: bool) -> None:
    """Print the summed speed of several trials on one device."""
    for n_trials in (1, 2, 4, 8):
        work = {
            "folder": folder,
            "n": n,
            "network": network,
            "batch_size": 64,
            "is_captured": is_captured,
        }
        trials = Contestant(turns=epochs, arguments=work, n_processes=n_trials)
        seconds = seconds_per_turn({"trials": trials}, n_rounds=N_ROUNDS)["trials"]
        print(
            f"  {n_trials} trials {'recorded' if is_captured else 'plain':8s} "
            f"{n / statistics.median(seconds):10,.0f} records/s together",
            flush=True,
        )


def main() -> None:
    """Print all measurements, or say that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1792)
    parser.add_argument(
        "--peak-tflops", type=float, default=989.0, help="dense bf16; 989 is H100's"
    )
    parser.add_argument("--trials-only", action="store_true", help="only several trials together")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: nothing was measured")
    under_mps = "CUDA_MPS_PIPE_DIRECTORY" in os.environ
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, MPS: {under_mps}")
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_records(Path(folder))
        n = min(arguments.records, len(prepared))
        if not arguments.trials_only:
            print(f"one trial, {n} records per epoch")
            for width in (64, 16):
                for batch_size in (32, 64, 128, 256, 512):
                    network = ModelSpec(width=width)
                    compare(prepared.folder, n, network, batch_size, arguments.peak_tflops)
            for name in MODELS:
                compare(prepared.folder, n, ModelSpec(name=name), 64, arguments.peak_tflops)
        print("several trials on one device, ResNet1d18 of width 64, batch 64")
        for is_captured in (False, True):
            by_trials(prepared.folder, n, ModelSpec(width=64), is_captured)


if __name__ == "__main__":
    main()
