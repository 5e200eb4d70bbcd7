"""Layers that the convolutional networks share, and their faster form for evaluation.

Convolutions are two-dimensional ones of height 1. In the channels-last memory format oneDNN runs
these 1.2 to 1.5 times faster on a CPU than `nn.Conv1d`, at equal results. A feature map therefore
has the shape (batch, width, 1, time).
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ecgopt.models.stages import StagedModel


def as_image(signals: Tensor) -> Tensor:
    """Return signals of shape (batch, lead, time) as (batch, lead, 1, time), channels last."""
    return signals.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def rectified(features: Tensor) -> Tensor:
    """Return max(features, 0); `features` must not be used afterwards.

    Without gradients it works in place, which saves evaluation up to a fifth of its time. With
    gradients it does not: measured there, writing in place made bf16 training slower.
    """
    return features.relu() if torch.is_grad_enabled() else features.relu_()


def convolution(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution over time, without bias, that keeps the length at stride 1.

    Args:
        n_in: Input channels.
        n_out: Output channels.
        kernel: Samples that the kernel spans.
        stride: Samples from one output to the next.
    """
    return nn.Conv2d(
        n_in, n_out, (1, kernel), stride=(1, stride), padding=(0, (kernel - 1) // 2), bias=False
    )


class ConvNorm(nn.Module):
    """A convolution and its BatchNorm, kept together so that evaluation can fuse them."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = convolution(n_in, n_out, kernel, stride)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, n_out, 1, time / stride)."""
        normalised: Tensor = self.norm(self.conv(features))
        return normalised


class MaxPool(nn.MaxPool2d):
    """The maximum of three neighbours in time."""

    def __init__(self, stride: int) -> None:
        super().__init__((1, 3), stride=(1, stride), padding=(0, 1))


class MeanPool(nn.Module):
    """The mean over time."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, width)."""
        return features.mean(dim=(2, 3))


class ConcatPool(nn.Module):
    """The mean and the maximum over time, side by side, or the maximum first."""

    def __init__(self, *, maximum_first: bool = False) -> None:
        super().__init__()
        self._step = -1 if maximum_first else 1

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, 2 x width)."""
        pooled = [features.mean(dim=(2, 3)), features.amax(dim=(2, 3))]
        return torch.cat(pooled[:: self._step], dim=1)


class FusedConvNorm(nn.Module):
    """A convolution that does the work of its BatchNorm in evaluation mode as well."""

    def __init__(self, pair: ConvNorm) -> None:
        super().__init__()
        conv, norm = pair.conv, pair.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.weight, self.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        self._stride, self._padding = conv.stride, conv.padding

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (batch, n_out, 1, time / stride)."""
        return functional.conv2d(features, self.weight, self.bias, self._stride, self._padding)


def fused(model: StagedModel) -> StagedModel:
    """Return a copy of `model` for evaluation, equal to it up to the rounding of fp32.

    Each convolution takes over the scale and shift of its BatchNorm; the copy cannot be trained.
    """
    # What is known to `deepcopy` as copied already is not copied: most of a network, and its time.
    copies = {id(m): FusedConvNorm(m) for m in model.modules() if isinstance(m, ConvNorm)}
    evaluated = copy.deepcopy(model, copies)
    for module in evaluated.modules():
        if isinstance(module, nn.RNNBase):
            # Copied weights lie apart; cuDNN would gather them in every call.
            module.flatten_parameters()
    evaluated.eval()
    return evaluated
