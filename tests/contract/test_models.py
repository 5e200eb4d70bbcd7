"""What every network must do, whatever its family."""

from dataclasses import replace

import pytest
import torch

from ecgopt.errors import UserError
from ecgopt.models.registry import MODELS, ModelSpec, build_model, freezable_stages

WIDTH = 4


@pytest.fixture(params=MODELS)
def spec(request):
    width = max(WIDTH, MODELS[request.param].limits.min_width)
    return ModelSpec(name=request.param, width=width)


@pytest.fixture
def model(spec):
    return build_model(spec, n_labels=5, seed=0)


@pytest.fixture(scope="module")
def signals():
    return torch.randn(3, 12, 1000, generator=torch.Generator().manual_seed(0))


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def train_a_step(model, signals):
    model.train()
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    model(signals).square().sum().backward()
    optimizer.step()


def test_it_gives_one_logit_per_record_and_label(model, signals):
    assert model(signals).shape == (3, 5)


@pytest.mark.parametrize(("n_leads", "n_samples", "n_labels"), [(1, 1000, 1), (8, 250, 71)])
def test_it_takes_any_input_within_its_own_limits(spec, n_leads, n_samples, n_labels):
    limits = MODELS[spec.name].limits
    n_leads = n_leads if limits.leads is None else limits.leads[0]
    n_samples = max(n_samples, limits.min_samples)
    model = build_model(spec, n_labels=n_labels, n_leads=n_leads, n_samples=n_samples, seed=0)
    assert model(torch.randn(2, n_leads, n_samples)).shape == (2, n_labels)


def test_an_input_or_width_beyond_its_limits_is_refused(spec):
    limits = MODELS[spec.name].limits
    if limits.min_samples > 1:
        with pytest.raises(UserError, match=f"at least {limits.min_samples} samples"):
            build_model(spec, n_labels=1, n_samples=limits.min_samples - 1, seed=0)
    if limits.min_width > 1:
        with pytest.raises(UserError, match=f"width of at least {limits.min_width}"):
            build_model(replace(spec, width=limits.min_width - 1), n_labels=1, seed=0)
    if limits.leads is not None:
        with pytest.raises(UserError, match="leads, but got 99"):
            build_model(spec, n_labels=1, n_leads=99, seed=0)


def test_equal_seeds_give_equal_weights(spec, model):
    assert equal(weights_of(model), weights_of(build_model(spec, n_labels=5, seed=0)))


def test_other_seeds_give_other_weights(spec, model):
    assert not equal(weights_of(model), weights_of(build_model(spec, n_labels=5, seed=1)))


def test_building_leaves_the_global_generator_alone(spec):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_model(spec, n_labels=5, seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_the_last_stage_is_the_head(model):
    assert model.stage_names[-1] == "head"
    assert model.stage("head") is model.head


def test_its_stages_hold_all_its_parameters(model):
    in_stages = [id(p) for name in model.stage_names for p in model.stage(name).parameters()]
    assert sorted(in_stages) == sorted(id(p) for p in model.parameters())


def test_the_number_of_freezable_stages_is_known_without_building(spec, model):
    assert freezable_stages(spec) == model.n_freezable_stages == len(model.stage_names) - 1


def test_a_prefix_and_the_rest_make_the_whole(model, signals):
    model.eval()
    whole = model(signals)
    for n_stages in range(len(model.stage_names)):
        assert torch.equal(model.forward_from(model.features(signals, n_stages), n_stages), whole)


def test_frozen_stages_keep_every_weight_and_statistic(spec, signals):
    model = build_model(spec, n_labels=5, seed=0)
    for n_frozen in {1, model.n_freezable_stages}:
        model.freeze(n_frozen)
        before = weights_of(model)
        train_a_step(model, signals)
        frozen = tuple(f"{name}." for name in model.stage_names[:n_frozen])
        changed = {
            name for name in before if not torch.equal(before[name], weights_of(model)[name])
        }
        assert changed
        assert not any(name.startswith(frozen) for name in changed)


def test_every_stage_trains_when_none_is_frozen(model, signals):
    before = weights_of(model)
    train_a_step(model, signals)
    after = weights_of(model)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(model.stage_names)


def test_thawing_lets_all_stages_train_again(model, signals):
    model.freeze(model.n_freezable_stages)
    model.freeze(0)
    model.train()
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_freezing_more_stages_than_there_are_is_refused(model):
    with pytest.raises(
        UserError, match=f"n_frozen_stages must be .* but is {len(model.stage_names)}"
    ):
        model.freeze(len(model.stage_names))


def test_dropout_acts_in_training_only(spec, signals):
    model = build_model(replace(spec, dropout=0.5), n_labels=5, seed=0)
    model.eval()
    assert torch.equal(model(signals), model(signals))
    model.head.train()
    assert not torch.equal(model(signals), model(signals))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'resnet1d18'"):
        build_model(ModelSpec(name="resnet18"), n_labels=5, seed=0)
