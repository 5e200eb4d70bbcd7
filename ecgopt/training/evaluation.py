"""Networks at rest: outputs for all records, in fp32, evaluation mode and a fixed order."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from ecgopt.models.folding import folded
from ecgopt.models.stages import StagedModel
from ecgopt.seeds import seed_torch
from ecgopt.training.batches import Source
from ecgopt.training.objectives import Objective

EVALUATION_BATCH: Final = 64
"""Fastest on a CPU, whose caches such a batch fits: 256 records at once take 1.1 times as long."""


def outputs_and_targets(
    model: StagedModel,
    source: Source,
    objective: Objective,
    *,
    batch_size: int = EVALUATION_BATCH,
) -> tuple[Tensor, Tensor]:
    """Return what `model` answers to all records and what it should have, on the CPU.

    An objective that hides parts of its inputs hides the same ones each time, so that the scores
    of epochs and runs compare.
    """
    evaluated = folded(model)
    outputs, targets = [], []
    with torch.inference_mode(), torch.random.fork_rng(devices=cuda_devices(source)):
        seed_torch("evaluation")
        for inputs, labels in source.batches(np.arange(len(source)), batch_size):
            seen, wanted = objective.example(inputs, labels)
            outputs.append(evaluated.forward_from(seen, source.n_stages).float().cpu())
            targets.append(wanted.cpu())
    if not outputs:
        empty = source.targets[:0].cpu()
        return empty, empty
    return torch.cat(outputs), torch.cat(targets)


def cuda_devices(source: Source) -> list[torch.device]:
    """Return the accelerator whose generator a computation on `source` draws from, if any."""
    device = source.targets.device
    return [device] if device.type == "cuda" else []
