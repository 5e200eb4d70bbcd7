"""The residual networks of the published study: torchvision's layout over time, not an image."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ecgopt.models.convolution import ConvNorm, MaxPool, MeanPool, as_image, rectified
from ecgopt.models.stages import LastStage, LinearHead, StagedModel

PUBLISHED_WIDTH = 64


class Stem(nn.Module):
    """Convolution and, unless left out, pooling that shorten the signals to a quarter or half."""

    def __init__(self, n_leads: int, width: int, *, pools: bool = True) -> None:
        super().__init__()
        self.first = ConvNorm(n_leads, width, kernel=7, stride=2)
        self.pool = MaxPool(stride=2) if pools else nn.Identity()

    def forward(self, signals: Tensor) -> Tensor:
        """Return features of shape (batch, width, 1, time / 4 or / 2), channels last."""
        features: Tensor = self.pool(rectified(self.first(as_image(signals))))
        return features


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut (He et al. 2016, arXiv:1512.03385, fig. 5 left)."""

    expansion: ClassVar[int] = 1

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(n_in, width, kernel=3, stride=stride)
        self.second = ConvNorm(width, width, kernel=3)
        self.shortcut = _shortcut(n_in, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, width, 1, time / stride)."""
        residual = self.second(rectified(self.first(features)))
        return rectified(residual + self.shortcut(features))


class Bottleneck(nn.Module):
    """A convolution between two pointwise ones (He et al. 2016, arXiv:1512.03385, fig. 5 right)."""

    expansion: ClassVar[int] = 4

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = width * self.expansion
        self.first = ConvNorm(n_in, width, kernel=1)
        self.second = ConvNorm(width, width, kernel=3, stride=stride)
        self.third = ConvNorm(width, n_out, kernel=1)
        self.shortcut = _shortcut(n_in, n_out, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, 4 width, 1, time / stride)."""
        residual = rectified(self.second(rectified(self.first(features))))
        return rectified(self.third(residual) + self.shortcut(features))


def build_resnet1d(  # noqa: PLR0913 one parameter per property
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    *,
    n_leads: int,
    n_labels: int,
    width: int,
    has_hidden_layer: bool,
    pools_early: bool = True,
) -> StagedModel:
    """Return a residual network with a stem, four stages and a head.

    Args:
        block: the residual block.
        depths: blocks in each of the four stages.
        n_leads: input leads.
        n_labels: logits.
        width: channels of the stem; 64 as published.
        has_hidden_layer: the published networks have a linear layer of 8 x width and a ReLU
            between pooling and head, torchvision's have none. On transfer the published code
            replaces the last linear layer only, so the hidden layer is part of stage 4 and moves
            with it.
        pools_early: whether the stem ends with a maximum; MERL's network has none.

    Source: arXiv:2402.02021, models as described there; layout of torchvision's resnet.py.
    """
    bodies: list[nn.Module] = []
    n_channels = width
    for position, depth in enumerate(depths):
        body = nn.Sequential()
        for index in range(depth):
            stride = 2 if position > 0 and index == 0 else 1
            body.append(block(n_channels, width * 2**position, stride))
            n_channels = width * 2**position * block.expansion
        bodies.append(body)
    hidden = None
    if has_hidden_layer:
        hidden = nn.Sequential(nn.Linear(n_channels, 8 * width), nn.ReLU())
        n_channels = 8 * width
    bodies[-1] = LastStage(bodies[-1], MeanPool(), hidden)
    stages = {"stem": Stem(n_leads, width, pools=pools_early)} | {
        f"stage{position}": body for position, body in enumerate(bodies, 1)
    }
    _initialise(stages.values())
    model = StagedModel(stages, LinearHead(n_channels, n_labels))
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model


def _shortcut(n_in: int, n_out: int, stride: int) -> nn.Module:
    if stride == 1 and n_in == n_out:
        return nn.Identity()
    return ConvNorm(n_in, n_out, kernel=1, stride=stride)


def _initialise(stages: Iterable[nn.Module]) -> None:
    """Draw convolution weights by Kaiming's rule over outputs, as published."""
    for stage in stages:
        for module in stage.modules():
            # On the meta device, where networks are only counted, a normal draw has nothing to fill
            # and yet imports torch's whole compiler, which takes longer than everything else.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
