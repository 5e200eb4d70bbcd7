"""How fast trials run on a GPU: by batch size, and by the number of trials that share the device.

Prints the device's name, records per second, and the share of the device's bf16 peak for one trial
at several batch sizes; then the sum over 1, 2, 4 and 8 trials side by side. Run it once plainly and
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
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Recipe

RECIPE = Recipe(learning_rate=1e-3, n_epochs=10_000, precision="bf16")
FLOPS_PER_MAC = 2


def epochs(folder: Path, n: int, width: int, batch_size: int) -> Iterator[Any]:
    """Return epochs of a trial on the first GPU."""
    data = first_records(open_prepared(folder), n)
    model = build_model(ModelSpec(width=width), n_labels=data.train.labels.shape[1], seed=0)
    recipe = replace(RECIPE, batch_size=batch_size)
    run = TrainingRun(
        model, data, recipe, seed=0, device=torch.device("cuda", 0), evaluate_after=()
    )
    return run.epochs()


def by_batch(folder: Path, n: int, width: int, peak_tflops: float) -> None:
    """Print one trial's speed at several batch sizes."""
    macs = macs_by_stage(ModelSpec(width=width), n_labels=5)
    flops_per_record = FLOPS_PER_MAC * training_macs(macs, n_frozen_stages=0)
    for batch_size in (32, 64, 128, 256, 512, 1024):
        turns = epochs(folder, n, width, batch_size)
        next(turns)
        seconds = []
        for _ in range(5):
            started = time.monotonic()
            next(turns)
            seconds.append(time.monotonic() - started)
        speed = n / statistics.median(seconds)
        share = speed * flops_per_record / (peak_tflops * 1e12)
        print(f"  batch {batch_size:5d}  {speed:10,.0f} records/s  {share:6.2%} of bf16 peak")


def by_trials(folder: Path, n: int, width: int) -> None:
    """Print the summed speed of several trials on one device."""
    for n_trials in (1, 2, 4, 8):
        work = {"folder": folder, "n": n, "width": width, "batch_size": 64}
        trials = Contestant(turns=epochs, arguments=work, n_processes=n_trials)
        seconds = seconds_per_turn({"trials": trials}, n_rounds=5)["trials"]
        print(f"  {n_trials} trials  {n / statistics.median(seconds):10,.0f} records/s together")


def main() -> None:
    """Print all measurements, or say that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1792)
    parser.add_argument(
        "--peak-tflops", type=float, default=989.0, help="dense bf16; 989 is H100's"
    )
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: nothing was measured")
    under_mps = "CUDA_MPS_PIPE_DIRECTORY" in os.environ
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, MPS: {under_mps}")
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_records(Path(folder))
        n = min(arguments.records, len(prepared))
        for width in (64, 16):
            print(f"ResNet1d18 width {width}, {n} records per epoch")
            by_batch(prepared.folder, n, width, arguments.peak_tflops)
            by_trials(prepared.folder, n, width)


if __name__ == "__main__":
    main()
