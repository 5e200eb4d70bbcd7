import pytest
import torch
from torch import nn

from ecgopt.models.convolution import fused
from ecgopt.models.registry import ModelSpec, build_model


@pytest.fixture(params=["resnet1d18", "resnet1d50", "xresnet1d101", "inception1d", "gru"])
def model(request):
    """A network whose BatchNorm statistics have moved away from their start."""
    model = build_model(ModelSpec(name=request.param, width=4), n_labels=5, seed=0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        model.train()(torch.randn(4, 12, 1000, generator=generator))
    return model


def test_the_fused_network_gives_the_same_logits(model):
    signals = torch.randn(3, 12, 1000, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model.eval()(signals)
        torch.testing.assert_close(fused(model)(signals), expected, rtol=1e-4, atol=1e-5)


def test_fusing_leaves_the_network_and_its_mode_as_they_were(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.freeze(1)
    model.train()
    fused(model)
    assert model.training
    assert not model.stage(model.stage_names[0]).training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_no_convolution_keeps_its_norm():
    model = fused(build_model(ModelSpec(width=4), n_labels=5, seed=0))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
