"""The network of ECGFounder: grouped convolutions with squeeze and excitation, no normalisation.

Source: the architecture's facts are those of Net1D (Hong et al. 2020, arXiv:2008.04063) as
ECGFounder uses it (Li et al. 2024, arXiv:2410.04133); this code is new.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgopt.models.stages import LastStage, LinearHead, SignalBatch, StagedModel

PUBLISHED_WIDTH = 64
KERNEL = 16
GROUP_WIDTH = 16
DEPTHS = (2, 2, 2, 3, 3, 4, 4)
FILTERS = (64, 160, 160, 400, 400, 1024, 1024)
"""Channels of each stage at the published width."""


class SameConv(nn.Conv1d):
    """A convolution that gives `time / stride` outputs, rounded up; zeros pad the right more."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, n_out, time / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        n_time = features.shape[-1]
        missing = max(0, (-(-n_time // stride) - 1) * stride + kernel - n_time)
        return super().forward(functional.pad(features, (missing // 2, missing - missing // 2)))


class SqueezeExcitation(nn.Module):
    """Scales channels by a gate that is computed from their means (Hu et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // 2)
        self.excite = nn.Linear(width // 2, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        gate = self.excite(functional.silu(self.squeeze(features.mean(dim=2))))
        return features * torch.sigmoid(gate).unsqueeze(2)


class Block(nn.Module):
    """A grouped convolution between two pointwise ones, each after a SiLU."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, is_first: bool) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_in, n_out, 1)
        self.second = SameConv(n_out, n_out, KERNEL, stride=stride, groups=n_out // GROUP_WIDTH)
        self.third = nn.Conv1d(n_out, n_out, 1)
        self.gate = SqueezeExcitation(n_out)
        self._stride = stride
        self._missing = n_out - n_in
        self._is_first = is_first

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, n_out, time / stride)."""
        # The stem has just applied the SiLU that the first block of all would begin with.
        residual = self.first(features if self._is_first else functional.silu(features))
        residual = self.second(functional.silu(residual))
        residual = self.gate(self.third(functional.silu(residual)))
        if self._stride > 1:
            features = functional.pad(features, (0, self._stride - 1))
            features = functional.max_pool1d(features, self._stride)
        before = self._missing // 2
        # New channels are zero, on both sides of those there were.
        shortcut = functional.pad(features, (0, 0, before, self._missing - before))
        summed: Tensor = residual + shortcut
        return summed


class MeanOverTime(nn.Module):
    """The mean over time."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, width)."""
        return features.mean(dim=2)


class Stem(nn.Module):
    """One long convolution that halves the length."""

    def __init__(self, n_leads: int, width: int) -> None:
        super().__init__()
        self.conv = SameConv(n_leads, width, KERNEL, stride=2)

    def forward(self, signals: SignalBatch) -> Tensor:
        """Return features of shape (batch, width, time / 2)."""
        return functional.silu(self.conv(signals))


def build_net1d(*, n_leads: int, n_labels: int, width: int) -> StagedModel:
    """Return a stem, seven stages that halve the length each, and a head.

    Args:
        n_leads: Input leads.
        n_labels: Logits.
        width: Channels of the stem, 64 as published; those of the stages change with it, in whole
            groups of 16.
    """
    n_in = _whole_groups(width)
    stages: dict[str, nn.Module] = {"stem": Stem(n_leads, n_in)}
    for position, (depth, filters) in enumerate(zip(DEPTHS, FILTERS, strict=True)):
        body = nn.Sequential()
        n_out = _whole_groups(filters * width / PUBLISHED_WIDTH)
        for index in range(depth):
            is_first = position == 0 and index == 0
            body.append(Block(n_in, n_out, stride=1 if index else 2, is_first=is_first))
            n_in = n_out
        stages[f"stage{position}"] = body
    last = f"stage{len(DEPTHS) - 1}"
    stages[last] = LastStage(stages[last], MeanOverTime())
    # bf16 was not measured.
    return StagedModel(stages, LinearHead(n_in, n_labels), bf16_devices={"cuda"})


def _whole_groups(n_channels: float) -> int:
    return GROUP_WIDTH * max(1, round(n_channels / GROUP_WIDTH))
