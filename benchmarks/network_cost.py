"""What a network costs: multiply-accumulate operations of one forward pass, stage by stage."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecgopt.models.registry import ModelSpec, build_model

TRAINING_FACTOR = 3
"""A training step costs about three forward passes: one forward, and two products backward."""


def macs_by_stage(
    spec: ModelSpec, *, n_labels: int, n_leads: int = 12, n_samples: int = 1000
) -> dict[str, int]:
    """Return multiply-accumulate operations per record of each stage, head included.

    Convolutions, matrix products, recurrences and attention are counted; norms, activations and
    pooling, which only pass over memory, are not. Nothing is computed, so large networks are fast.
    """
    with torch.device("meta"):
        # In training mode, since PyTorch's encoder layers hide their parts in evaluation mode.
        model = build_model(
            spec, n_labels=n_labels, n_leads=n_leads, n_samples=n_samples, seed=0
        ).train()
        features = torch.zeros(2, n_leads, n_samples)
    counts = {}
    for name in model.stage_names:
        counted: list[int] = []
        handles = [
            module.register_forward_hook(_counter(rule, counted))
            for module in model.stage(name).modules()
            for kind, rule in _RULES.items()
            if isinstance(module, kind)
        ]
        features = model.stage(name)(features)
        for handle in handles:
            handle.remove()
        counts[name] = sum(counted) // 2
    return counts


def training_macs(
    macs: dict[str, int], *, n_frozen_stages: int, keeps_features: bool = False
) -> int:
    """Return the operations that one record costs in one training epoch.

    Args:
        macs: of `macs_by_stage`.
        n_frozen_stages: leading stages that are run forward only.
        keeps_features: whether these are not even run, since their features are kept.
    """
    counts = list(macs.values())
    frozen = 0 if keeps_features else sum(counts[:n_frozen_stages])
    return frozen + TRAINING_FACTOR * sum(counts[n_frozen_stages:])


def _convolution(module: nn.Module, _: Tensor, output: object) -> int:
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    assert isinstance(output, Tensor)
    return output.numel() * module.weight[0].numel()


def _linear(module: nn.Module, _: Tensor, output: object) -> int:
    assert isinstance(module, nn.Linear)
    assert isinstance(output, Tensor)
    return output.numel() * module.in_features


def _recurrence(module: nn.Module, inputs: Tensor, _: object) -> int:
    assert isinstance(module, nn.RNNBase)
    weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
    return inputs.shape[0] * inputs.shape[1] * weights


def _attention(module: nn.Module, inputs: Tensor, _: object) -> int:
    assert isinstance(module, nn.MultiheadAttention)
    n_records, n_tokens, width = inputs.shape
    projections = 4 * n_tokens * width * width
    return n_records * (projections + 2 * n_tokens * n_tokens * width)


Rule = Callable[[nn.Module, Tensor, object], int]
"""From a module, its first input and its output, which recurrences and attention give in tuples."""

_RULES: dict[type[nn.Module], Rule] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.RNNBase: _recurrence,
    nn.MultiheadAttention: _attention,
}


def _counter(
    rule: Rule, counted: list[int]
) -> Callable[[nn.Module, tuple[Tensor, ...], object], None]:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        counted.append(rule(module, inputs[0], output))

    return count
