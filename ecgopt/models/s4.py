"""Structured state-space networks in plain PyTorch: S4, and the network of ECG-CPC.

A layer is a long convolution whose kernel is the impulse response of a linear system with a
diagonal plus low-rank state matrix (Gu et al. 2022, arXiv:2111.00396). Sources: S4 on ECGs (Mehari
and Strodthoff 2023, arXiv:2308.15291) and ECG-CPC (Al-Masud et al. 2025, arXiv:2509.25095); the
architectures' facts, in new code.
"""

import math

import numpy as np
import torch
from jaxtyping import Complex128
from torch import Tensor, nn
from torch.nn import functional

from ecgopt.models.net1d import MeanOverTime
from ecgopt.models.stages import LastStage, LinearHead, SignalBatch, StagedModel
from ecgopt.shapes import Float

PUBLISHED_WIDTH = 512
N_LAYERS = 4
N_STATES = 8
"""Half of them are stored; the others are their conjugates."""
STEP_RANGE = (0.001, 0.1)
"""Bounds of the time steps that a new layer begins with."""
ECG_CPC_NODES = 1024
"""Length that the kernels of the published checkpoint are made for."""

Features = Float[Tensor, "batch width time"]


def legendre_system(
    n_states: int,
) -> tuple[
    Complex128[np.ndarray, " half"],
    Complex128[np.ndarray, " half"],
    Complex128[np.ndarray, " half"],
]:
    """Return the eigenvalues, the low-rank part and the input of the scaled Legendre system.

    The state matrix is `diag(w) - p p*` in the basis of the returned vectors; of each pair of
    conjugates one is returned.

    Args:
        n_states: States, an even number.

    Source: HiPPO-LegS, arXiv:2008.07669, in the normal plus low-rank form of arXiv:2111.00396.
    """
    order = np.arange(n_states)
    scale = np.sqrt(2 * order + 1)
    matrix = -np.tril(np.outer(scale, scale), -1) - np.diag(order + 1.0)
    low_rank = np.sqrt(order + 0.5)
    # What remains is minus a half on the diagonal, plus a skew-symmetric part.
    skew = matrix + np.outer(low_rank, low_rank) + 0.5 * np.eye(n_states)
    frequencies, basis = np.linalg.eigh(-1j * skew)
    kept = frequencies > 0
    to_basis = basis[:, kept].conj().T
    return -0.5 + 1j * frequencies[kept], to_basis @ low_rank, to_basis @ scale


class Kernel(nn.Module):
    """The impulse responses of one system per channel, sampled by the bilinear rule.

    All tensors are complex numbers with real and imaginary part in the last axis. As published,
    only the outputs are trained.
    """

    nodes: Tensor
    log_step: Tensor
    eigenvalues: Tensor
    inputs: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, width: int, n_states: int, n_nodes: int, *, n_directions: int) -> None:
        super().__init__()
        self._n_nodes = n_nodes
        outputs = torch.randn(n_directions, width, n_states // 2, 2) / math.sqrt(2)
        self.outputs = nn.Parameter(outputs)
        low, high = (math.log(step) for step in STEP_RANGE)
        self.register_buffer("log_step", torch.rand(width) * (high - low) + low)
        eigenvalues, low_rank, inputs = legendre_system(n_states)
        self.register_buffer("eigenvalues", _parts(eigenvalues).repeat(width, 1, 1))
        self.register_buffer("inputs", _parts(inputs).repeat(1, width, 1, 1))
        self.register_buffer("left", _parts(low_rank).repeat(1, width, 1, 1))
        self.register_buffer("right", _parts(low_rank.conj()).repeat(1, width, 1, 1))
        angles = -2 * np.pi * np.arange(n_nodes // 2 + 1) / n_nodes
        # A checkpoint for kernels of another length has another number of nodes, and is refused.
        self.register_buffer("nodes", _parts(np.exp(1j * angles)))

    def forward(self, n: int) -> Float[Tensor, "direction width time"]:
        """Return the first `n` samples of each response; at most as many as there are nodes."""
        step = self.log_step.exp().unsqueeze(-1)
        node = torch.view_as_complex(self.nodes)
        # Shapes: (input or low-rank part, output or low-rank part, width, half of the states).
        into = torch.cat([self.inputs, self.left])
        out = torch.cat([self.outputs, self.right])
        pairs = torch.view_as_complex(into).unsqueeze(1) * torch.view_as_complex(out).unsqueeze(0)
        poles = torch.view_as_complex(self.eigenvalues) * step
        # The resolvent at each node, times 2 / (1 + node), which has no pole at node -1.
        plus, minus = (1 + node) / 2, 1 - node
        found = _resolvent(pairs * step, poles, plus, minus)
        found = found + _resolvent((pairs * step).conj(), poles.conj(), plus, minus)
        direct, by_left, by_right, both = (
            found[:1, :-1],
            found[:1, -1:],
            found[-1:, :-1],
            found[-1:, -1:],
        )
        spectrum = direct - by_left * by_right * plus / (1 + plus * both)
        responses: Tensor = torch.fft.irfft(spectrum[0], n=self._n_nodes)
        return responses[..., :n]


class S4Layer(nn.Module):
    """A long convolution and a gated linear unit over channels; a shortcut and LayerNorm."""

    def __init__(self, width: int, n_nodes: int, *, looks_ahead: bool) -> None:
        super().__init__()
        self._looks_ahead = looks_ahead
        self.kernel = Kernel(width, N_STATES, n_nodes, n_directions=2 if looks_ahead else 1)
        self.skip = nn.Parameter(torch.randn(1, width))
        self.mix_weight = nn.Parameter(torch.empty(2 * width, width))
        nn.init.kaiming_uniform_(self.mix_weight, a=math.sqrt(5))
        self.mix_bias = nn.Parameter(torch.zeros(2 * width, 1))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Features) -> Features:
        """Return features of the same shape."""
        n = features.shape[2]
        kernel = self.kernel(n)
        if self._looks_ahead:
            kernel = functional.pad(kernel[0], (0, n)) + functional.pad(kernel[1].flip(-1), (n, 0))
        else:
            kernel = kernel[0]
        spectrum = torch.fft.rfft(features, n=2 * n) * torch.fft.rfft(kernel, n=2 * n)
        convolved = torch.fft.irfft(spectrum, n=2 * n)[..., :n]
        response = functional.gelu(convolved + features * self.skip[0].unsqueeze(-1))
        mixed = functional.glu(self.mix_weight @ response + self.mix_bias, dim=1)
        normed: Tensor = self.norm((mixed + features).mT).mT
        return normed


class CpcConvolutions(nn.Module):
    """The encoder of ECG-CPC: four convolutions, of which the first halves the length."""

    def __init__(self, n_leads: int, width: int) -> None:
        super().__init__()
        kernels = (3, 1, 1, 1)
        layers: list[nn.Module] = []
        for position, kernel in enumerate(kernels):
            n_in, stride = (width, 1) if position else (n_leads, 2)
            layers.append(
                nn.Sequential(
                    nn.Conv1d(n_in, width, kernel, stride, padding=kernel // 2, bias=False),
                    nn.BatchNorm1d(width),
                    nn.ReLU(),
                )
            )
        self.layers = nn.Sequential(*layers)

    def forward(self, signals: SignalBatch) -> Features:
        """Return features of shape (batch, width, time / 2)."""
        features: Tensor = self.layers(signals)
        return features


def build_s4(*, n_leads: int, n_samples: int, n_labels: int, width: int) -> StagedModel:
    """Return a pointwise convolution, four layers that look both ways, the mean, and a head.

    Args:
        n_leads: Input leads.
        n_samples: Input samples per lead; no longer input is taken.
        n_labels: Logits.
        width: Channels; 512 as published.
    """
    layers = [S4Layer(width, n_samples, looks_ahead=True) for _ in range(N_LAYERS)]
    return _staged(nn.Conv1d(n_leads, width, 1), layers, n_labels)


def build_ecg_cpc(*, n_leads: int, n_samples: int, n_labels: int, width: int) -> StagedModel:
    """Return the network of ECG-CPC: convolutions, four layers that look back, and a head.

    Args:
        n_leads: Input leads.
        n_samples: Input samples per lead; no longer input is taken.
        n_labels: Logits.
        width: Channels; 512 as published.
    """
    n_nodes = max(ECG_CPC_NODES, -(-n_samples // 2))
    layers = [S4Layer(width, n_nodes, looks_ahead=False) for _ in range(N_LAYERS)]
    return _staged(CpcConvolutions(n_leads, width), layers, n_labels)


def _staged(encoder: nn.Module, layers: list[S4Layer], n_labels: int) -> StagedModel:
    width = layers[0].norm.normalized_shape[0]
    stages: dict[str, nn.Module] = {"encoder": encoder}
    stages |= {f"layer{position}": layer for position, layer in enumerate(layers)}
    last = f"layer{len(layers) - 1}"
    stages[last] = LastStage(stages[last], MeanOverTime())
    # Complex numbers have no bf16.
    return StagedModel(stages, LinearHead(width, n_labels), bf16_devices=())


def _parts(values: Complex128[np.ndarray, " value"]) -> Tensor:
    """Return complex numbers as real and imaginary parts, of shape (value, 2)."""
    return torch.tensor(np.stack([values.real, values.imag], axis=-1), dtype=torch.float32)


def _resolvent(weights: Tensor, poles: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    """Return the sum over states of `weights / (minus - plus poles)` at each node."""
    found: Tensor = (weights.unsqueeze(-1) / (minus - plus * poles.unsqueeze(-1))).sum(dim=-2)
    return found
