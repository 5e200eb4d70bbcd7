"""The xresnet1d of the PTB-XL benchmark: a deep stem, pooled shortcuts, one width throughout.

Source: Strodthoff et al. 2021, doi:10.1109/JBHI.2020.3022989 (the architecture's facts; this
code is new); the tricks are those of He et al. 2019, arXiv:1812.01187.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ecgopt.models.convolution import ConcatPool, ConvNorm, MaxPool, as_image, rectified
from ecgopt.models.stages import LastStage, LinearHead, StagedModel

PUBLISHED_WIDTH = 64
KERNEL = 5
EXPANSION = 4
HIDDEN_UNITS_PER_WIDTH = 2
"""The benchmark's head has a hidden layer of 128 units at width 64."""


class DeepStem(nn.Module):
    """Three convolutions and pooling that shorten the signals to a quarter."""

    def __init__(self, n_leads: int, width: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.first = ConvNorm(n_leads, half, KERNEL, stride=2)
        self.second = ConvNorm(half, half, KERNEL)
        self.third = ConvNorm(half, width, KERNEL)
        self.pool = MaxPool(stride=2)

    def forward(self, signals: Tensor) -> Tensor:
        """Return features of shape (batch, width, 1, time / 4), channels last."""
        features = rectified(self.first(as_image(signals)))
        features = rectified(self.third(rectified(self.second(features))))
        pooled: Tensor = self.pool(features)
        return pooled


class PooledShortcut(nn.Module):
    """A shortcut that averages where the block strides, and projects where the width changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.pool = (
            nn.Identity() if stride == 1 else nn.AvgPool2d((1, stride), stride, ceil_mode=True)
        )
        self.project = nn.Identity() if n_in == n_out else ConvNorm(n_in, n_out, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, n_out, 1, time / stride)."""
        projected: Tensor = self.project(self.pool(features))
        return projected


class Bottleneck(nn.Module):
    """A kernel-5 convolution between two pointwise ones, starting as the identity."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = EXPANSION * width
        self.first = ConvNorm(n_in, width, kernel=1)
        self.second = ConvNorm(width, width, KERNEL, stride=stride)
        self.third = ConvNorm(width, n_out, kernel=1)
        self.shortcut = PooledShortcut(n_in, n_out, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, 4 width, 1, time / stride)."""
        residual = rectified(self.second(rectified(self.first(features))))
        return rectified(self.third(residual) + self.shortcut(features))


def build_xresnet1d(
    depths: Sequence[int],
    *,
    n_leads: int,
    n_labels: int,
    width: int,
    has_hidden_layer: bool,
    pool: nn.Module | None = None,
) -> StagedModel:
    """Return an xresnet1d with a stem, four stages and a head.

    The benchmark drops a quarter of the hidden layer's inputs and half of the head's; here the
    head's dropout is a setting like any other and the hidden layer has none.

    Args:
        depths: blocks in each stage; (3, 4, 23, 3) is xresnet1d101.
        n_leads: input leads.
        n_labels: logits.
        width: channels inside each block; 64 as in the benchmark.
        has_hidden_layer: whether normalisation and a hidden layer come between pooling and head.
        pool: what the last stage pools with; None: the mean, then the maximum.
    """
    bodies: list[nn.Module] = []
    n_channels = width
    for position, depth in enumerate(depths):
        body = nn.Sequential()
        for index in range(depth):
            body.append(Bottleneck(n_channels, width, 2 if position and not index else 1))
            n_channels = EXPANSION * width
        bodies.append(body)
    n_features = 2 * n_channels
    hidden = None
    if has_hidden_layer:
        hidden = normalised_hidden_layer(n_features, HIDDEN_UNITS_PER_WIDTH * width)
        n_features = HIDDEN_UNITS_PER_WIDTH * width
    bodies[-1] = LastStage(bodies[-1], pool or ConcatPool(), hidden)
    stages = {"stem": DeepStem(n_leads, width)} | {
        f"stage{position}": body for position, body in enumerate(bodies, 1)
    }
    model = StagedModel(stages, LinearHead(n_features, n_labels))
    _initialise(model)
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model


def normalised_hidden_layer(n_features: int, n_hidden: int) -> nn.Sequential:
    """Return the benchmark's hidden layer, with normalisation on both sides of it."""
    return nn.Sequential(
        nn.BatchNorm1d(n_features),
        nn.Linear(n_features, n_hidden),
        nn.ReLU(),
        nn.BatchNorm1d(n_hidden),
    )


def _initialise(model: StagedModel) -> None:
    """Draw weights by Kaiming's rule over inputs and let each block start as its shortcut."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # See resnet1d: a normal draw on the meta device imports torch's compiler.
            if not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.third.norm.weight)
