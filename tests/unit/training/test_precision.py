"""Which arithmetic a recipe's precision means for a network on a device."""

import pytest
import torch

from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.precision import precision_in_use


@pytest.mark.parametrize(
    ("wanted", "network", "device", "expected"),
    [
        ("tf32", "resnet1d18", "cuda", "tf32"),
        ("tf32", "resnet1d18", "cpu", "fp32"),
        ("fp32", "resnet1d18", "cuda", "fp32"),
        ("bf16", "resnet1d18", "cpu", "bf16"),
        ("bf16", "gru", "cuda", "bf16"),
        ("bf16", "gru", "cpu", "fp32"),
        ("bf16", "s4", "cuda", "tf32"),
        ("bf16", "s4", "cpu", "fp32"),
    ],
)
def test_a_recipe_is_read_as_what_network_and_device_can_do(wanted, network, device, expected):
    model = build_model(ModelSpec(name=network, width=8), n_labels=2, seed=0)
    assert precision_in_use(wanted, model, torch.device(device)) == expected
