"""The inception1d of the PTB-XL benchmark: parallel convolutions of three lengths.

Source: Ismail Fawaz et al. 2020 (InceptionTime), arXiv:1909.04939; Strodthoff et al. 2021,
doi:10.1109/JBHI.2020.3022989 (the architecture's facts; this code is new).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ecgopt.models.convolution import (
    ConcatPool,
    ConvNorm,
    MaxPool,
    as_image,
    convolution,
    rectified,
)
from ecgopt.models.stages import LastStage, LinearHead, StagedModel
from ecgopt.models.xresnet1d import normalised_hidden_layer

PUBLISHED_WIDTH = 32
KERNELS = (39, 19, 9)
N_BRANCHES = len(KERNELS) + 1
BLOCKS_PER_STAGE = 3
N_STAGES = 2
HIDDEN_UNITS_PER_WIDTH = 4
"""The benchmark's head has a hidden layer of 128 units at width 32."""


class InceptionBlock(nn.Module):
    """Three convolutions of a narrowed input and one of its local maximum, side by side."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.narrow = convolution(n_in, width, kernel=1)
        self.branches = nn.ModuleList(convolution(width, width, kernel) for kernel in KERNELS)
        self.pool = MaxPool(stride=1)
        self.pooled_branch = convolution(n_in, width, kernel=1)
        self.norm = nn.BatchNorm2d(N_BRANCHES * width)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, 4 width, 1, time)."""
        narrow = self.narrow(features)
        branches = [branch(narrow) for branch in self.branches]
        branches.append(self.pooled_branch(self.pool(features)))
        return rectified(self.norm(torch.cat(branches, dim=1)))


class InceptionStage(nn.Module):
    """Three blocks around a projected shortcut."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        n_out = N_BRANCHES * width
        self.blocks = nn.Sequential(
            *(InceptionBlock(n_out if k else n_in, width) for k in range(BLOCKS_PER_STAGE))
        )
        self.shortcut = ConvNorm(n_in, n_out, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, 4 width, 1, time)."""
        if features.ndim == 3:
            features = as_image(features)
        return rectified(self.blocks(features) + self.shortcut(features))


def build_inception1d(
    *, n_leads: int, n_labels: int, width: int, has_hidden_layer: bool
) -> StagedModel:
    """Return an inception1d of two stages and a head; it keeps the full length until pooling.

    The shortcuts span three blocks, so there are two stages that can be frozen, the same two
    groups that the benchmark fine-tunes with different rates.

    Args:
        n_leads: input leads.
        n_labels: logits.
        width: channels of each branch; 32 as in the benchmark.
        has_hidden_layer: whether normalisation and a hidden layer come between pooling and head.
    """
    n_channels = N_BRANCHES * width
    n_features = 2 * n_channels
    hidden = None
    if has_hidden_layer:
        hidden = normalised_hidden_layer(n_features, HIDDEN_UNITS_PER_WIDTH * width)
        n_features = HIDDEN_UNITS_PER_WIDTH * width
    stages: dict[str, nn.Module] = {
        "stage1": InceptionStage(n_leads, width),
        f"stage{N_STAGES}": LastStage(InceptionStage(n_channels, width), ConcatPool(), hidden),
    }
    model = StagedModel(stages, LinearHead(n_features, n_labels))
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model
