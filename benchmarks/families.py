"""How fast each network trains on one thread, and what bf16 gains it: the basis of its default.

ECGOPT_DATA=... python -m benchmarks.families [--rounds 3] [--records 64]
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Contestant, ratio, seconds_per_turn
from benchmarks.network_cost import macs_by_stage
from benchmarks.real_records import first_records, prepared_records
from ecgopt.data.prepared import open_prepared
from ecgopt.models.registry import MODELS, ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Precision, Recipe

N_LABELS = 5


def epochs(folder: Path, name: str, n: int, precision: Precision) -> Iterator[Any]:
    """Return epochs of a trial, in the precision asked for whatever the network's default."""
    data = first_records(open_prepared(folder), n)
    model = build_model(ModelSpec(name=name), n_labels=N_LABELS, seed=0)
    model.bf16_devices = frozenset({"cpu"})
    recipe = Recipe(learning_rate=1e-4, n_epochs=10_000, batch_size=32)
    run = TrainingRun(
        model,
        data,
        replace(recipe, precision=precision),
        seed=0,
        device=torch.device("cpu"),
        evaluate_after=(),
    )
    return run.epochs()


def main() -> None:
    """Print one line per network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=64)
    arguments = parser.parse_args()
    print("network          parameters  MMAC  fp32/s  bf16/s  bf16 / fp32 (rounds)")
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_records(Path(folder))
        for name in MODELS:
            work = {"folder": prepared.folder, "name": name, "n": arguments.records}
            contestants = {
                precision: Contestant(turns=epochs, arguments={**work, "precision": precision})
                for precision in ("fp32", "bf16")
            }
            seconds = seconds_per_turn(contestants, n_rounds=arguments.rounds)
            speeds = [arguments.records / statistics.median(seconds[p]) for p in contestants]
            middle, low, high = ratio(seconds, "fp32", "bf16")
            model = build_model(ModelSpec(name=name), n_labels=N_LABELS, seed=0)
            n_parameters = sum(p.numel() for p in model.parameters())
            note = "" if "cpu" in model.bf16_devices else "  fp32"
            macs = sum(macs_by_stage(ModelSpec(name=name), n_labels=N_LABELS).values()) / 1e6
            print(
                f"{name:15s} {n_parameters:11,d} {macs:5.0f} {speeds[0]:7.0f} {speeds[1]:7.0f}"
                f"  {middle:.2f} ({low:.2f}-{high:.2f}){note}",
                flush=True,
            )


if __name__ == "__main__":
    main()
