"""The residual networks of the published study: torchvision's layout over time instead of an image.

The convolutions are written as two-dimensional ones of height 1. In the channels-last memory
format oneDNN runs these 1.2 to 1.5 times faster on a CPU than `nn.Conv1d`, at equal results.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ecgopt.models.stages import LinearHead, StagedModel

PUBLISHED_WIDTH = 64


def convolution(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution over time, without bias, that keeps the length at stride 1."""
    return nn.Conv2d(
        n_in, n_out, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), bias=False
    )


class Stem(nn.Module):
    """Convolution and pooling that shorten the signals to a quarter."""

    def __init__(self, n_leads: int, width: int) -> None:
        super().__init__()
        self.conv = convolution(n_leads, width, kernel=7, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))

    def forward(self, signals: Tensor) -> Tensor:
        """Return features of shape (batch, width, 1, time / 4), channels last."""
        image = signals.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.pool(torch.relu(self.norm(self.conv(image))))
        return features


class Shortcut(nn.Sequential):
    """A strided projection for blocks whose input and output differ in shape."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__(convolution(n_in, n_out, kernel=1, stride=stride), nn.BatchNorm2d(n_out))


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut (He et al. 2016, arXiv:1512.03385, fig. 5 left)."""

    expansion: ClassVar[int] = 1

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(n_in, width, kernel=3, stride=stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, kernel=3)
        self.norm2 = nn.BatchNorm2d(width)
        is_identity = stride == 1 and n_in == width
        self.shortcut = nn.Identity() if is_identity else Shortcut(n_in, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, width, 1, time / stride)."""
        residual = torch.relu(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        return torch.relu(residual + self.shortcut(features))


class Bottleneck(nn.Module):
    """A convolution between two pointwise ones (He et al. 2016, arXiv:1512.03385, fig. 5 right)."""

    expansion: ClassVar[int] = 4

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = width * self.expansion
        self.conv1 = convolution(n_in, width, kernel=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, kernel=3, stride=stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, n_out, kernel=1)
        self.norm3 = nn.BatchNorm2d(n_out)
        is_identity = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if is_identity else Shortcut(n_in, n_out, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, 4 width, 1, time / stride)."""
        residual = torch.relu(self.norm1(self.conv1(features)))
        residual = torch.relu(self.norm2(self.conv2(residual)))
        residual = self.norm3(self.conv3(residual))
        return torch.relu(residual + self.shortcut(features))


class AveragePool(nn.Module):
    """The mean over time."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, width)."""
        return features.mean(dim=(2, 3))


def build_resnet1d(
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    *,
    n_leads: int,
    n_labels: int,
    width: int,
    has_hidden_layer: bool,
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

    Source: arXiv:2402.02021, models as described there; layout of torchvision's resnet.py.
    """
    stages: dict[str, nn.Module] = {"stem": Stem(n_leads, width)}
    n_channels = width
    for position, depth in enumerate(depths):
        stage = nn.Sequential()
        for index in range(depth):
            stride = 2 if position > 0 and index == 0 else 1
            stage.append(block(n_channels, width * 2**position, stride))
            n_channels = width * 2**position * block.expansion
        stages[f"stage{position + 1}"] = stage
    _initialise(stages.values())
    last = stages[f"stage{len(depths)}"]
    assert isinstance(last, nn.Sequential)
    last.append(AveragePool())
    if has_hidden_layer:
        last.append(nn.Linear(n_channels, 8 * width)).append(nn.ReLU())
        n_channels = 8 * width
    model = StagedModel(stages, LinearHead(n_channels, n_labels))
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model


def _initialise(stages: Iterable[nn.Module]) -> None:
    """Draw convolution weights by Kaiming's rule over outputs, as published."""
    for stage in stages:
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
