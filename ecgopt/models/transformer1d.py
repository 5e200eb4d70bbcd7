"""A small transformer over patches of the signals, from PyTorch's own encoder layers."""

import math

import torch
from torch import Tensor, nn

from ecgopt.models.rnn import MeanState
from ecgopt.models.stages import LastStage, LinearHead, SignalBatch, StagedModel
from ecgopt.shapes import Float

DEFAULT_WIDTH = 128
PATCH_SAMPLES = 20
"""A fifth of a second at 100 Hz, about two QRS complexes wide."""
N_LAYERS = 4
N_HEADS = 4


class PatchStem(nn.Module):
    """Cuts the signals into patches and gives each a vector and its place in time."""

    def __init__(self, n_leads: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(n_leads, width, PATCH_SAMPLES, stride=PATCH_SAMPLES)
        self.width = width

    def forward(self, signals: SignalBatch) -> Tensor:
        """Return tokens of shape (batch, time / 20, width); a last shorter patch is left out."""
        tokens: Tensor = self.project(signals).transpose(1, 2)
        return tokens + sinusoids(tokens.shape[1], self.width, tokens.device).to(tokens.dtype)


def sinusoids(
    n_positions: int, width: int, device: torch.device
) -> Float[Tensor, "position width"]:
    """Return the fixed position vectors of Vaswani et al. 2017, arXiv:1706.03762."""
    even = torch.arange(0, width, 2, device=device)
    rates = torch.exp(even * (-math.log(10_000.0) / width))
    angles = torch.arange(n_positions, device=device).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def build_transformer1d(*, n_leads: int, n_labels: int, width: int) -> StagedModel:
    """Return a stem, four encoder layers, the mean over patches, and a head.

    Args:
        n_leads: input leads.
        n_labels: logits.
        width: of a token; widths that 4 does not divide get a single attention head.
    """
    layers: list[nn.Module] = [
        nn.TransformerEncoderLayer(
            width,
            N_HEADS if width % N_HEADS == 0 else 1,
            dim_feedforward=4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        for _ in range(N_LAYERS)
    ]
    layers[-1] = LastStage(layers[-1], nn.Sequential(nn.LayerNorm(width), MeanState()))
    stages = {"stem": PatchStem(n_leads, width)} | {
        f"stage{position}": layer for position, layer in enumerate(layers, 1)
    }
    # Measured 0.8 of the fp32 speed: fifty tokens are too few for the conversions to pay.
    return StagedModel(stages, LinearHead(width, n_labels), bf16_devices={"cuda"})
