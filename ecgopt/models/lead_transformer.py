"""Transformers over patches of single leads: ST-MEM and ECG-JEPA.

Sources: ST-MEM (Na et al. 2024, arXiv:2402.09450) and ECG-JEPA (Kim 2024, arXiv:2410.08559); the
architectures' facts, in new code.
"""

import torch
from torch import Tensor, nn

from ecgopt.models.attention import Attention, Block, n_heads
from ecgopt.models.rnn import MeanState
from ecgopt.models.stages import LastStage, LinearHead, SignalBatch, StagedModel
from ecgopt.models.transformer1d import sinusoids
from ecgopt.shapes import Float

PUBLISHED_WIDTH = 768
N_BLOCKS = 12
ST_MEM_PATCH = 75
"""0.3 s at 250 Hz."""
ST_MEM_HEAD_WIDTH = 64
ECG_JEPA_PATCH = 50
"""0.2 s at 250 Hz."""
ECG_JEPA_HEAD_WIDTH = 48

Tokens = Float[Tensor, "batch token width"]


def patches(signals: SignalBatch, n_samples: int) -> Float[Tensor, "batch lead patch sample"]:
    """Return the leads in patches of `n_samples`; a last shorter patch is left out."""
    n_patches = signals.shape[2] // n_samples
    cut: Tensor = signals[:, :, : n_patches * n_samples].unflatten(2, (n_patches, n_samples))
    return cut


class SeparatedStem(nn.Module):
    """Patches of each lead between two separators, with a vector of place and of lead."""

    def __init__(self, n_leads: int, n_samples: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.LayerNorm(ST_MEM_PATCH), nn.Linear(ST_MEM_PATCH, width), nn.LayerNorm(width)
        )
        n_places = n_samples // ST_MEM_PATCH + 2
        self.places = nn.Parameter(0.02 * torch.randn(1, n_places, width))
        self.separator = nn.Parameter(0.02 * torch.randn(width))
        self.leads = nn.ParameterList(0.02 * torch.randn(width) for _ in range(n_leads))

    def forward(self, signals: SignalBatch) -> Tokens:
        """Return the tokens of all leads in a row."""
        tokens = self.project(patches(signals, ST_MEM_PATCH))
        separator = self.separator.expand(*tokens.shape[:2], 1, -1)
        tokens = torch.cat([separator, tokens, separator], dim=2) + self.places
        return (tokens + torch.stack(list(self.leads)).unsqueeze(1)).flatten(1, 2)


class MeanWithoutSeparators(nn.Module):
    """The mean over the patches of all leads."""

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self._n_leads = n_leads

    def forward(self, tokens: Tokens) -> Tensor:
        """Return features of shape (batch, width)."""
        mean: Tensor = tokens.unflatten(1, (self._n_leads, -1))[:, :, 1:-1].mean(dim=(1, 2))
        return mean


class CrossStem(nn.Module):
    """Patches of all leads, the place of each, and which of them may look at each other."""

    places: Tensor
    allowed: Tensor

    def __init__(self, n_leads: int, n_samples: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(ECG_JEPA_PATCH, width)
        n_patches = n_samples // ECG_JEPA_PATCH
        lead = torch.arange(n_leads).repeat_interleave(n_patches)
        patch = torch.arange(n_patches).repeat(n_leads)
        half = width // 2
        # Fixed, but part of a checkpoint; half of each vector is for the lead, half for the time.
        both = [
            sinusoids(n_leads, half, lead.device)[lead],
            sinusoids(n_patches, width - half, lead.device)[patch],
        ]
        self.register_buffer("places", torch.cat(both, dim=1))
        same_lead = lead.unsqueeze(0) == lead.unsqueeze(1)
        same_time = patch.unsqueeze(0) == patch.unsqueeze(1)
        self.register_buffer("allowed", same_lead | same_time, persistent=False)

    def forward(self, signals: SignalBatch) -> Tokens:
        """Return the tokens of all leads in a row, without their places."""
        tokens: Tensor = self.project(patches(signals, ECG_JEPA_PATCH)).flatten(1, 2)
        return tokens


class CrossBlock(nn.Module):
    """A block whose tokens look at those of the same lead or the same time; adds places first."""

    def __init__(self, stem: CrossStem, block: Block) -> None:
        super().__init__()
        self.block = block
        # In a tuple, so that the stem does not become a part of every block.
        self._stem = (stem,)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return tokens of the same shape."""
        stem = self._stem[0]
        mixed: Tensor = self.block(tokens + stem.places, stem.allowed)
        return mixed


def build_st_mem(*, n_leads: int, n_samples: int, n_labels: int, width: int) -> StagedModel:
    """Return the encoder of ST-MEM: a stem, twelve blocks, the mean over patches, and a head.

    Args:
        n_leads: Input leads.
        n_samples: Input samples per lead.
        n_labels: Logits.
        width: Of a token; 768 as published.
    """
    heads = n_heads(width, ST_MEM_HEAD_WIDTH)
    blocks: list[nn.Module] = [
        Block(width, Attention(width, heads), norm_first=True) for _ in range(N_BLOCKS)
    ]
    blocks[-1] = LastStage(blocks[-1], MeanWithoutSeparators(n_leads), nn.LayerNorm(width))
    stages: dict[str, nn.Module] = {"stem": SeparatedStem(n_leads, n_samples, width)}
    stages |= {f"block{position}": block for position, block in enumerate(blocks)}
    return StagedModel(stages, LinearHead(width, n_labels), bf16_devices={"cuda"})


def build_ecg_jepa(*, n_leads: int, n_samples: int, n_labels: int, width: int) -> StagedModel:
    """Return the encoder of ECG-JEPA: a stem, twelve blocks, the mean over patches, and a head.

    Args:
        n_leads: Input leads; the published encoder has eight.
        n_samples: Input samples per lead.
        n_labels: Logits.
        width: Of a token; 768 as published.
    """
    heads = n_heads(width, ECG_JEPA_HEAD_WIDTH)
    stem = CrossStem(n_leads, n_samples, width)
    blocks: list[nn.Module] = [
        CrossBlock(stem, Block(width, Attention(width, heads, bias=False), norm_first=True))
        for _ in range(N_BLOCKS)
    ]
    blocks[-1] = LastStage(blocks[-1], nn.Sequential(nn.LayerNorm(width), MeanState()))
    stages: dict[str, nn.Module] = {"stem": stem}
    stages |= {f"block{position}": block for position, block in enumerate(blocks)}
    return StagedModel(stages, LinearHead(width, n_labels), bf16_devices={"cuda"})
