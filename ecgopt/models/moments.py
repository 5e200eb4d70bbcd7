"""The moment-matched start: random weights with the scale of pre-trained ones, and no features."""

import torch
from torch import nn

from ecgopt.models.checkpoint import Checkpoint, body_tensors
from ecgopt.models.stages import StagedModel
from ecgopt.seeds import seed_for


def match_moments(model: StagedModel, checkpoint: Checkpoint, *, seed: int) -> None:
    """Redraw all weights of `model` but the head's with the mean and spread they have upstream.

    Each parameter tensor of the body becomes independent normal draws with the mean and standard
    deviation of the checkpoint's tensor of that name. So the model takes over how large the
    pre-trained weights are, layer by layer, but nothing of what they compute. The running
    statistics of BatchNorm describe upstream features and stay as they are in a fresh model.

    Args:
        model: fresh, changed in place.
        checkpoint: the upstream one.
        seed: the source of the draws.

    Raises:
        CheckpointError: the checkpoint does not fit the model.

    Source: the Mean Var initialisation of Raghu et al. 2019 (Transfusion), arXiv:1902.07208.
    """
    stored = body_tensors(model, checkpoint)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    with torch.no_grad():
        for name in sorted(stored.keys() & parameters.keys()):
            upstream = stored[name].double()
            # Each tensor hashes its own name, so a further layer changes no other's draws.
            generator = torch.Generator().manual_seed(seed_for("moments", seed, name))
            draws = torch.randn(upstream.shape, generator=generator, dtype=torch.float64)
            matched = upstream.mean() + upstream.std(correction=0) * draws
            parameters[name].copy_(matched)
