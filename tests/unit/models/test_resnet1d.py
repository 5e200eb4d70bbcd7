import pytest
import torch
from torch import nn

from ecgopt.errors import UserError
from ecgopt.models.registry import ModelSpec, build_model


def conv1d_twin(module):
    """Return a copy of a ResNet whose height-1 images are plain sequences."""
    if isinstance(module, nn.Conv2d):
        twin = nn.Conv1d(
            module.in_channels,
            module.out_channels,
            module.kernel_size[1],
            stride=module.stride[1],
            padding=module.padding[1],
            bias=False,
        )
        twin.weight.data = module.weight.detach().squeeze(2).contiguous()
        return twin
    if isinstance(module, nn.BatchNorm2d):
        twin = nn.BatchNorm1d(module.num_features)
        twin.load_state_dict(module.state_dict())
        return twin
    return None


class PlainResNet1d18(nn.Module):
    """The published layer layout, written once more with one-dimensional layers."""

    def __init__(self, model):
        super().__init__()
        self.layers = {
            name: twin
            for name, module in model.named_modules()
            if (twin := conv1d_twin(module)) is not None
        }
        self.hidden = model.last_stage.hidden[0]
        self.last = model.head.linear

    def block(self, name, features):
        residual = self.conv_norm(f"{name}.first", features).relu()
        residual = self.conv_norm(f"{name}.second", residual)
        if f"{name}.shortcut.conv" in self.layers:
            features = self.conv_norm(f"{name}.shortcut", features)
        return (residual + features).relu()

    def conv_norm(self, name, features):
        return self.layers[f"{name}.norm"](self.layers[f"{name}.conv"](features))

    def forward(self, signals):
        features = self.conv_norm("stem.first", signals).relu()
        features = nn.functional.max_pool1d(features, 3, stride=2, padding=1)
        for stage in range(1, 5):
            for block in range(2):
                inner = "body." if stage == 4 else ""
                features = self.block(f"stage{stage}.{inner}{block}", features)
        return self.last(self.hidden(features.mean(2)).relu())

    def set_mode(self, training):
        for layer in self.layers.values():
            layer.train(training)


@pytest.mark.parametrize("training", [False, True])
def test_the_channels_last_network_equals_one_of_conv1d_layers(training):
    model = build_model(ModelSpec(width=16), n_labels=5, seed=0).train(training)
    plain = PlainResNet1d18(model)
    plain.set_mode(training)
    signals = torch.randn(4, 12, 1000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(signals), plain(signals), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [("resnet1d18", 4_114_053), ("resnet1d50", 17_010_821), ("resnet1d101", 29_318_277)],
)
def test_published_networks_have_the_published_number_of_parameters(name, n_parameters):
    with torch.device("meta"):
        model = build_model(ModelSpec(name=name), n_labels=5, seed=0)
    assert sum(p.numel() for p in model.parameters()) == n_parameters


def test_only_the_last_linear_layer_is_the_head_as_published():
    model = build_model(ModelSpec(), n_labels=5, seed=0)
    assert sum(p.numel() for p in model.head.parameters()) == 2565


def test_a_pooled_head_sees_the_pooled_channels_themselves():
    model = build_model(ModelSpec(width=8, head="pooled"), n_labels=5, seed=0)
    assert model.head.linear.in_features == 64
    assert not any(isinstance(module, nn.Linear) for module in model.last_stage.modules())


def test_weights_lie_channels_last():
    model = build_model(ModelSpec(width=8), n_labels=5, seed=0)
    weight = model.stage("stage2")[0].second.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_a_flattened_resnet_is_refused():
    with pytest.raises(UserError, match="head='flatten'"):
        build_model(ModelSpec(head="flatten"), n_labels=5, seed=0)
