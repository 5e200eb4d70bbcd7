"""Speech transformers on ECGs: HuBERT-ECG and ECG-FM.

Convolutions shorten the signals to tokens, a long grouped convolution gives them their places, and
blocks with normalisation after each shortcut follow (wav2vec 2.0, Baevski et al. 2020,
arXiv:2006.11477). Sources: HuBERT-ECG (Coppola et al. 2024, doi:10.1101/2024.11.14.24317328) and
ECG-FM (McKeen et al. 2024, arXiv:2408.05178); the architectures' facts, in new code.
"""

from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgopt.models.attention import Attention, Block, n_heads
from ecgopt.models.rnn import MeanState
from ecgopt.models.stages import LastStage, LinearHead, SignalBatch, StagedModel
from ecgopt.shapes import Float

HEAD_WIDTH = 64
PLACE_KERNEL = 128
PLACE_GROUPS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What distinguishes the published networks."""

    width: int
    """Of a token."""
    n_blocks: int
    conv_width: int
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    in_a_row: bool
    """Whether the leads form one long signal or the channels of the first convolution."""


HUBERT_ECG_SMALL = Layout(
    width=512,
    n_blocks=8,
    conv_width=512,
    kernels=(10, 3, 3, 2, 2),
    strides=(4, 2, 2, 2, 2),
    in_a_row=True,
)
HUBERT_ECG_BASE = Layout(
    width=768,
    n_blocks=12,
    conv_width=512,
    kernels=(10, 3, 3, 2, 2),
    strides=(4, 2, 2, 2, 2),
    in_a_row=True,
)
ECG_FM = Layout(
    width=768,
    n_blocks=12,
    conv_width=256,
    kernels=(2, 2, 2, 2),
    strides=(2, 2, 2, 2),
    in_a_row=False,
)


class Convolutions(nn.Module):
    """Convolutions with a GELU each; each channel of the first is normalised over time."""

    def __init__(self, layout: Layout, n_leads: int, width: int) -> None:
        super().__init__()
        n_in = 1 if layout.in_a_row else n_leads
        self._in_a_row = layout.in_a_row
        self.convs = nn.ModuleList()
        for kernel, stride in zip(layout.kernels, layout.strides, strict=True):
            self.convs.append(nn.Conv1d(n_in, width, kernel, stride=stride, bias=False))
            n_in = width
        self.norm = nn.GroupNorm(width, width)

    def forward(self, signals: SignalBatch) -> Float[Tensor, "batch width token"]:
        """Return the features of each token."""
        features = signals.flatten(1).unsqueeze(1) if self._in_a_row else signals
        for position, conv in enumerate(self.convs):
            features = conv(features)
            features = functional.gelu(features if position else self.norm(features))
        return features


class PlaceConvolution(nn.Module):
    """A grouped convolution whose kernel has a size at each position, apart from its direction."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._groups = gcd(PLACE_GROUPS, width)
        self.direction = nn.Parameter(torch.empty(width, width // self._groups, PLACE_KERNEL))
        nn.init.normal_(self.direction, std=2 / (PLACE_KERNEL * width) ** 0.5)
        self.size = nn.Parameter(self._norm().detach().clone())
        self.bias = nn.Parameter(torch.zeros(width))

    def _norm(self) -> Tensor:
        norm: Tensor = self.direction.norm(dim=(0, 1), keepdim=True)
        return norm

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Tensor:
        """Return tokens of the same shape."""
        kernel = self.direction * (self.size / self._norm())
        features = functional.conv1d(
            tokens.transpose(1, 2),
            kernel,
            self.bias,
            padding=PLACE_KERNEL // 2,
            groups=self._groups,
        )
        # An even kernel gives one output too many.
        places: Tensor = functional.gelu(features[:, :, :-1]).transpose(1, 2)
        return places


class Embedding(nn.Module):
    """Makes tokens of features and adds their places."""

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.feature_norm = nn.LayerNorm(n_features)
        self.project = nn.Linear(n_features, width)
        self.places = PlaceConvolution(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Float[Tensor, "batch feature token"]) -> Tensor:
        """Return tokens of shape (batch, token, width)."""
        tokens = self.project(self.feature_norm(features.transpose(1, 2)))
        placed: Tensor = self.norm(tokens + self.places(tokens))
        return placed


def build_wav2vec2(
    layout: Layout, *, n_leads: int, n_labels: int, width: int | None
) -> StagedModel:
    """Return convolutions, an embedding, blocks, the mean over tokens, and a head.

    The convolutions are a stage of their own, since the authors of ECG-FM freeze them alone.

    Args:
        layout: Which network.
        n_leads: Input leads.
        n_labels: Logits.
        width: Of a token; None: as published. The convolutions' width changes with it.
    """
    width = width or layout.width
    conv_width = max(1, layout.conv_width * width // layout.width)
    blocks: list[nn.Module] = [
        Block(width, Attention(width, n_heads(width, HEAD_WIDTH), fused=False), norm_first=False)
        for _ in range(layout.n_blocks)
    ]
    blocks[-1] = LastStage(blocks[-1], MeanState())
    stages: dict[str, nn.Module] = {
        "convolutions": Convolutions(layout, n_leads, conv_width),
        "embedding": Embedding(conv_width, width),
    }
    stages |= {f"block{position}": block for position, block in enumerate(blocks)}
    return StagedModel(stages, LinearHead(width, n_labels), bf16_devices={"cuda"})
