"""Does training in bf16 cost skill? Paired runs in bf16 and fp32 on real records.

Both runs of a pair share seed, initial weights, order of records and recipe; only the arithmetic of
the training passes differs. Evaluation is fp32 in both. Folds 1 to 7 of the PTB-XL records at hand
train, folds 8 to 10 validate.

    ECGOPT_DATA=... python -m benchmarks.precision [--seeds 12] [--width 16] [--epochs 10]
"""

import argparse
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmarks.equivalence import mean_difference
from benchmarks.real_records import parts_by_fold, prepared_records
from ecgopt.data.splits import TuningData
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Precision, Recipe
from ecgopt.training.run import EpochResult


def final_epoch(
    data: TuningData, spec: ModelSpec, n_epochs: int, seed: int, precision: Precision
) -> EpochResult:
    """Return the last epoch of a run."""
    model = build_model(spec, n_labels=data.train.labels.shape[1], seed=seed)
    recipe = Recipe(learning_rate=3e-3, n_epochs=n_epochs, precision=precision)
    run = TrainingRun(model, data, recipe, seed=seed, device=torch.device("cpu"), evaluate_after=())
    return list(run.epochs())[-1]


def main() -> None:
    """Print each pair, the mean difference with its interval, and whether it is within margin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet1d18")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = ModelSpec(name=arguments.model, width=arguments.width)
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        data = parts_by_fold(prepared_records(Path(folder)))
        print(f"{spec.name}, width {spec.width}, {arguments.epochs} epochs", end=", ")
        print(f"{len(data.train)} records to train, {len(data.validation)} to validate")
        for seed in range(arguments.seeds):
            pair = {
                precision: final_epoch(data, spec, arguments.epochs, seed, precision)
                for precision in get_args(Precision)
            }
            scores.append([result.validation_macro_auroc for result in pair.values()])
            row = "  ".join(
                f"{name} {result.validation_macro_auroc:.4f} ({result.seconds:.1f} s/epoch)"
                for name, result in pair.items()
            )
            print(f"  seed {seed:2d}  {row}", flush=True)
    report(np.array(scores))


def report(scores: np.ndarray) -> None:
    """Print the paired difference bf16 - fp32 with its t interval."""
    fp32, bf16 = scores.T
    difference = mean_difference(bf16 - fp32)
    print(f"fp32 {fp32.mean():.4f} (sd {fp32.std(ddof=1):.4f})", end=", ")
    print(f"bf16 {bf16.mean():.4f} (sd {bf16.std(ddof=1):.4f})")
    print(f"bf16 - fp32: {difference}: {difference.verdict}")


if __name__ == "__main__":
    main()
