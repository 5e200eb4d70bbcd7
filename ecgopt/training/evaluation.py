"""Inference: outputs for all records, in fp32, evaluation mode and a fixed order."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from ecgopt.data.splits import EcgDataset
from ecgopt.models.convolution import fused
from ecgopt.models.stages import StagedModel
from ecgopt.seeds import seed_torch
from ecgopt.shapes import Float
from ecgopt.training.batches import BatchSource, signal_source
from ecgopt.training.cuda import cuda_devices
from ecgopt.training.objectives import Objective
from ecgopt.training.precision import arithmetic
from ecgopt.training.prefix_cache import PrefixCache

CPU_BATCH: Final = 64
"""Fastest on a CPU, whose caches such a batch fits: 256 records take 1.1 times as long."""
CUDA_BATCH: Final = 512
"""Enough for a GPU to compute longer than the host needs to launch."""


def outputs_and_targets(
    model: StagedModel,
    source: BatchSource,
    objective: Objective,
    *,
    batch_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what `model` answers to all records and what it should have, on the CPU.

    An objective that hides parts of its inputs hides the same ones each time, so that the scores
    of epochs and runs compare.

    Args:
        model: The network; its mode does not matter.
        source: Inputs and targets of the records.
        objective: The task, which makes inputs and targets of a batch.
        batch_size: Records in a batch; None takes what is fast on the device.
    """
    evaluated, device = fused(model), source.targets.device
    outputs, targets = [], []
    with (
        torch.inference_mode(),
        arithmetic(device, "fp32"),
        torch.random.fork_rng(devices=cuda_devices(device)),
    ):
        seed_torch("evaluation")
        for inputs, labels in source.batches(
            np.arange(len(source)), batch_size or evaluation_batch(device)
        ):
            seen, wanted = objective.example(inputs, labels)
            outputs.append(evaluated.forward_from(seen, source.n_stages).float().cpu())
            targets.append(wanted.cpu())
    if not outputs:
        empty = source.targets[:0].cpu()
        return empty, empty
    return torch.cat(outputs), torch.cat(targets)


def embeddings(
    model: StagedModel,
    dataset: EcgDataset,
    *,
    device: torch.device,
    prefix_cache: PrefixCache | None = None,
) -> Float[np.ndarray, "record width"]:
    """Return what the head of `model` sees of each record, for probes of other kinds than a head.

    Args:
        model: usually pre-trained; its mode does not matter.
        dataset: the records.
        device: where to compute.
        prefix_cache: where features are kept for the next caller.
    """
    evaluated = fused(model)
    n_stages = model.n_freezable_stages
    source = None
    if prefix_cache is not None:
        source = prefix_cache.source(
            evaluated, dataset, n_stages=n_stages, precision="fp32", device=device
        )
    source = source or signal_source(dataset, device)
    seen = []
    with torch.inference_mode(), arithmetic(device, "fp32"):
        for inputs, _ in source.batches(np.arange(len(source)), evaluation_batch(device)):
            kept = inputs if source.n_stages else evaluated.features(inputs, n_stages)
            seen.append(evaluated.last_stage.finish(kept).flatten(1).cpu())
    array: np.ndarray = torch.cat(seen).numpy()
    return array


def evaluation_batch(device: torch.device) -> int:
    """Return how many records are evaluated together on a device."""
    return CUDA_BATCH if device.type == "cuda" else CPU_BATCH
