import pytest
import torch

from ecgopt.models.checkpoint import Checkpoint, model_tensors, transfer
from ecgopt.models.registry import MODELS, ModelSpec, build_model


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "n_total"), [("gru", 534_205), ("lstm", 545_605), ("bilstm", 1_091_205)]
)
def test_published_networks_have_the_published_number_of_parameters(name, n_total):
    assert n_parameters(build_model(ModelSpec(name=name), n_labels=5, seed=0)) == n_total


@pytest.mark.parametrize(
    ("name", "n_labels", "share"),
    [
        ("gru", 5, 0.936),
        ("gru", 2, 0.854),
        ("gru", 10, 0.967),
        ("lstm", 5, 0.916),
        ("bilstm", 5, 0.916),
        ("bilstm", 2, 0.814),
    ],
)
def test_the_published_head_re_initialises_most_weights_on_transfer(name, n_labels, share):
    source = build_model(ModelSpec(name=name), n_labels=9, seed=0)
    target = build_model(ModelSpec(name=name), n_labels=n_labels, seed=1)
    checkpoint = Checkpoint(tensors=model_tensors(source), metadata={}, sha256="")
    assert transfer(target, checkpoint) == pytest.approx(1 - share, abs=5e-4)


@pytest.mark.parametrize("name", ["gru", "lstm", "bilstm"])
@pytest.mark.parametrize("n_labels", [2, 5, 10])
def test_with_a_pooled_head_over_95_percent_of_the_weights_transfer(name, n_labels):
    spec = ModelSpec(name=name, head="pooled")
    source = build_model(spec, n_labels=9, seed=0)
    target = build_model(spec, n_labels=n_labels, seed=1)
    checkpoint = Checkpoint(tensors=model_tensors(source), metadata={}, sha256="")
    assert transfer(target, checkpoint) > 0.95


def test_the_published_head_sees_every_state_and_flatten_names_the_same_head():
    as_published = build_model(ModelSpec(name="bilstm", width=4), n_labels=5, seed=0)
    flatten = build_model(ModelSpec(name="bilstm", width=4, head="flatten"), n_labels=5, seed=0)
    assert as_published.head.linear.in_features == 8000
    signals = torch.randn(2, 12, 1000)
    assert torch.equal(as_published(signals), flatten(signals))


def test_a_pooled_head_takes_records_of_any_length():
    model = build_model(ModelSpec(name="lstm", width=4, head="pooled"), n_labels=5, seed=0)
    assert model(torch.randn(2, 12, 300)).shape == (2, 5)


def test_bf16_is_used_on_a_cpu_where_it_was_measured_to_be_faster():
    slower = {
        name
        for name in MODELS
        if "cpu" not in build_model(ModelSpec(name=name, width=16), n_labels=5, seed=0).bf16_devices
    }
    unmeasured = {name for name in MODELS if name.startswith(("ecg", "hubert", "st_mem", "s4"))}
    assert slower == {"gru", "transformer1d"} | unmeasured
