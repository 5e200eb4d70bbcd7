"""What every regime promises: a start, what it fixes, and a run that repeats and resumes."""

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import Checkpoint, model_tensors
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.regimes.hyperparameters import PARAMETERS, published_parameters, published_recipe
from ecgopt.regimes.regimes import REGIMES, regime
from ecgopt.training.recipe import Recipe

CPU = torch.device("cpu")
SPEC = ModelSpec(name="resnet1d18", width=2)
RECIPE = Recipe(learning_rate=3e-3, n_epochs=4, batch_size=16)
N_STAGES = 5


@pytest.fixture(params=REGIMES)
def arm(request):
    return REGIMES[request.param]


@pytest.fixture(scope="module")
def data():
    return wave_data()


@pytest.fixture(scope="module")
def upstream():
    model = build_model(SPEC, n_labels=7, seed=99)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return Checkpoint(tensors=model_tensors(model), metadata={}, sha256="")


def started(arm, upstream, seed=0):
    model = build_model(SPEC, n_labels=2, seed=seed)
    share = arm.initialise(model, upstream if arm.needs_upstream else None, seed=seed)
    return model, share


def recipe_of(arm, recipe=RECIPE):
    return arm.constrain(recipe, n_freezable_stages=N_STAGES)


def run_of(arm, model, data):
    return arm.build_run(
        model, data, recipe_of(arm), seed=0, device=CPU, evaluate_after=None, prefix_cache=None
    )


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def different(first, second):
    assert first.keys() == second.keys()
    return {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}


def outcome(results):
    return [(r.epoch, r.train_loss, r.validation_macro_auroc, r.n_samples) for r in results]


def test_it_is_found_by_its_name(arm):
    assert regime(arm.name) is arm


def test_it_names_known_parameters_only_and_none_as_both_its_own_and_unused(arm):
    assert arm.needed_parameters <= arm.own_parameters <= PARAMETERS.keys()
    assert arm.unused_parameters <= PARAMETERS.keys()
    assert not arm.own_parameters & arm.unused_parameters


def test_the_published_recipe_has_a_value_for_all_its_parameters(arm):
    values = published_parameters(arm.own_parameters, n_epochs=100)
    assert values.keys() == arm.own_parameters


def test_without_its_upstream_it_says_what_it_needs(arm):
    model = build_model(SPEC, n_labels=2, seed=0)
    if not arm.needs_upstream:
        assert arm.initialise(model, None, seed=0) == 0.0
        return
    with pytest.raises(CheckpointError, match=f"{arm.name} needs a pre-trained checkpoint"):
        arm.initialise(model, None, seed=0)


def test_the_share_it_reports_is_that_of_the_weights_which_became_the_upstreams(arm, upstream):
    model, share = started(arm, upstream)
    taken = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not name.startswith("head.")
        and torch.equal(parameter, upstream.tensors[f"model.{name}"])
    )
    assert share == pytest.approx(taken / sum(p.numel() for p in model.parameters()))


def test_the_head_is_the_random_one_that_every_regime_gets(arm, upstream):
    model, _ = started(arm, upstream)
    fresh = build_model(SPEC, n_labels=2, seed=0)
    assert "head" not in different(weights_of(model), weights_of(fresh))


def test_equal_seeds_give_equal_starts(arm, upstream):
    (first, _), (second, _) = started(arm, upstream), started(arm, upstream)
    assert not different(weights_of(first), weights_of(second))


@pytest.mark.parametrize("recipe", [RECIPE, published_recipe()])
def test_what_it_fixes_fits_the_model_and_does_not_depend_on_being_asked_twice(arm, recipe):
    fixed = recipe_of(arm, recipe)
    assert 0 <= fixed.n_frozen_stages <= N_STAGES
    assert recipe_of(arm, fixed) == fixed
    assert (fixed.learning_rate, fixed.optimizer) == (recipe.learning_rate, recipe.optimizer)


def test_frozen_stages_keep_every_weight_and_statistic_of_their_start(arm, upstream, data):
    model, _ = started(arm, upstream)
    before = weights_of(model)
    run = run_of(arm, model, data)
    list(run.epochs())
    frozen = set(model.stage_names[: recipe_of(arm).n_frozen_stages])
    assert not frozen & different(before, weights_of(model))


def test_it_trains_as_long_as_its_recipe_says(arm, upstream, data):
    results = list(run_of(arm, started(arm, upstream)[0], data).epochs())
    assert [r.epoch for r in results] == list(range(1, recipe_of(arm).n_epochs + 1))
    assert all(np.isfinite(r.validation_macro_auroc) for r in results)
    assert {r.n_samples for r in results} == {len(data.train)}


def test_equal_seeds_give_equal_runs(arm, upstream, data):
    first, second = (run_of(arm, started(arm, upstream)[0], data) for _ in range(2))
    assert outcome(first.epochs()) == outcome(second.epochs())
    assert np.array_equal(first.predict(data.validation), second.predict(data.validation))


def test_stopped_after_any_epoch_it_goes_on_to_the_same_end(arm, upstream, data):
    whole = run_of(arm, started(arm, upstream)[0], data)
    results = outcome(whole.epochs())
    for n_done in range(1, len(results) + 1):
        stopped = run_of(arm, started(arm, upstream)[0], data)
        epochs = stopped.epochs()
        for _ in range(n_done):
            next(epochs)
        tensors, metadata = stopped.state()
        resumed = run_of(arm, started(arm, upstream)[0], data)
        resumed.restore({name: t.clone() for name, t in tensors.items()}, metadata)
        assert outcome(resumed.epochs()) == results[n_done:]
        assert np.array_equal(resumed.predict(data.validation), whole.predict(data.validation))


def test_its_predictions_are_probabilities_of_every_label(arm, upstream, data):
    run = run_of(arm, started(arm, upstream)[0], data)
    list(run.epochs())
    scores = run.predict(data.validation)
    assert scores.shape == data.validation.labels.shape
    assert ((scores >= 0) & (scores <= 1)).all()
