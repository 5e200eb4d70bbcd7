"""Training on a real CUDA device, where ECGOPT_TEST_GPU=1 says that tests may take it."""

import gc
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.models.registry import MODELS, ModelSpec, build_model
from ecgopt.training import batches
from ecgopt.training.fit import TrainingRun, predict
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.pretrain import build_pretraining, with_ages
from ecgopt.training.recipe import Recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="there is no CUDA device, or ECGOPT_TEST_GPU=1 is not set",
    ),
]

RECIPE = Recipe(learning_rate=1e-2, n_epochs=20, batch_size=16, precision="fp32")
SPEC = ModelSpec(width=8)


@pytest.fixture(scope="module")
def data():
    return wave_data(n_train=100)


def run_of(data, recipe=RECIPE, *, spec=SPEC, device="cuda", cache=None, is_captured=False):
    return TrainingRun(
        build_model(spec, n_labels=2, seed=0),
        data,
        recipe,
        seed=0,
        device=torch.device(device),
        prefix_cache=cache,
        is_captured=is_captured,
    )


def losses_of(run):
    return [result.train_loss for result in run.epochs()]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_it_learns_what_the_signals_show(data, precision):
    results = list(run_of(data, replace(RECIPE, precision=precision)).epochs())
    assert results[-1].validation_macro_auroc > 0.95


def test_the_first_epochs_are_those_of_a_cpu(data):
    recipe = replace(RECIPE, learning_rate=1e-4)
    gpu, cpu = (
        [r.train_loss for r in islice(run_of(data, recipe, device=device).epochs(), 2)]
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(gpu, cpu, rtol=1e-2)


def test_a_run_begun_on_the_gpu_continues_on_a_cpu(data):
    first = run_of(data)
    next(first.epochs())
    second = run_of(data, device="cpu")
    second.restore(*first.state())
    assert next(second.epochs()).epoch == 2


def test_kept_features_give_the_same_losses(data, tmp_path):
    recipe = replace(RECIPE, n_epochs=2, n_frozen_stages=5)
    plain, kept = (
        [r.train_loss for r in run_of(data, recipe, cache=cache).epochs()]
        for cache in (None, PrefixCache(tmp_path))
    )
    np.testing.assert_allclose(kept, plain, rtol=1e-4)


def test_predictions_agree_with_those_of_a_cpu(data):
    model = build_model(SPEC, n_labels=2, seed=0)
    on_cpu = predict(model, data.validation, device=torch.device("cpu"))
    on_gpu = predict(model.cuda(), data.validation, device=torch.device("cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-5)


def test_running_out_of_memory_is_left_to_the_caller_and_leaves_the_device_usable(data):
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            next(run_of(data, replace(RECIPE, batch_size=100)).epochs())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()
    assert next(run_of(data).epochs()).epoch == 1


def test_records_that_would_crowd_the_device_are_copied_batch_by_batch(data, monkeypatch):
    recipe = replace(RECIPE, n_epochs=2, learning_rate=1e-4)
    resident = losses_of(run_of(data, recipe))
    monkeypatch.setattr(batches, "RESIDENT_SHARE", 0.0)
    np.testing.assert_allclose(losses_of(run_of(data, recipe)), resident, rtol=1e-3)


SETTINGS = [
    {},
    {"precision": "bf16"},
    {"optimizer": "sgd"},
    {"optimizer": "adam", "weight_decay": 1e-3},
    {"dropout": 0.3, "label_smoothing": 0.1},
    {"clip_norm": 0.5, "layer_decay": 0.7},
    {"n_frozen_stages": 3},
    {"head_first_share": 0.4},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings) or "plain")
def test_recorded_steps_train_as_plain_ones(data, settings):
    # 100 records in batches of 16 end with a batch of 4, which has a graph of its own.
    recipe = replace(RECIPE, n_epochs=5, learning_rate=1e-3, **settings)
    plain, recorded = run_of(data, recipe), run_of(data, recipe, is_captured=True)
    expected, found = losses_of(plain), losses_of(recorded)
    np.testing.assert_allclose(found, expected, rtol=2e-2 if "precision" in settings else 2e-3)
    assert plain.n_recorded_graphs == 0
    assert recorded.n_recorded_graphs == 2


@pytest.mark.parametrize("name", MODELS)
def test_steps_of_every_network_can_be_recorded(data, name):
    spec = ModelSpec(name=name)
    # fp32 differs from run to run on a GPU: a hundred layers make more of that than of recording.
    recipe = replace(RECIPE, n_epochs=3, learning_rate=1e-4, precision="tf32")
    plain, recorded = (run_of(data, recipe, spec=spec, is_captured=c) for c in (False, True))
    np.testing.assert_allclose(losses_of(recorded), losses_of(plain), rtol=1e-2)
    assert recorded.n_recorded_graphs == 2


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_repeated_run_gives_equal_bits_except_in_fp32(data, name, precision):
    spec = ModelSpec(name=name)
    recipe = replace(RECIPE, n_epochs=3, learning_rate=1e-4, precision=precision, dropout=0.2)
    first, second = (run_of(data, recipe, spec=spec, is_captured=True) for _ in range(2))
    assert losses_of(first) == losses_of(second)
    tensors, again = first.state()[0], second.state()[0]
    assert [key for key in tensors if not torch.equal(tensors[key], again[key])] == []


def test_what_an_earlier_trial_leaves_behind_does_not_spoil_a_recording(data):
    recipe = replace(RECIPE, n_epochs=2, learning_rate=1e-4)
    earlier = run_of(data, recipe, is_captured=True)
    losses_of(earlier)
    cycle = [earlier]
    cycle.append(cycle)
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        run = run_of(data, recipe, is_captured=True)
        del cycle, earlier
        losses_of(run)
    finally:
        gc.set_threshold(*thresholds)
    assert run.n_recorded_graphs == 2


def test_a_recorded_run_continues_from_its_state(data):
    recipe = replace(RECIPE, n_epochs=4, learning_rate=1e-3)
    expected = losses_of(run_of(data, recipe, is_captured=True))
    first, second = (run_of(data, recipe, is_captured=True) for _ in range(2))
    list(islice(first.epochs(), 2))
    list(islice(second.epochs(), 3))
    second.restore(*first.state())
    np.testing.assert_allclose(losses_of(second), expected[2:], rtol=2e-3)


@pytest.mark.parametrize("objective", ["masked_signal", "age"])
def test_steps_of_pre_training_can_be_recorded(data, objective):
    ages = np.random.default_rng(0).uniform(20, 90, len(data.train)).astype(np.float32)
    ages[::7] = np.nan
    if objective == "age":
        data = replace(
            data,
            train=with_ages(data.train, ages),
            validation=with_ages(data.validation, ages[: len(data.validation)]),
        )
    plain, recorded = (
        build_pretraining(
            objective,
            SPEC,
            data,
            replace(RECIPE, n_epochs=3, learning_rate=1e-4),
            seed=0,
            device=torch.device("cuda"),
            is_captured=is_captured,
        )
        for is_captured in (False, True)
    )
    np.testing.assert_allclose(losses_of(recorded), losses_of(plain), rtol=1e-3)
