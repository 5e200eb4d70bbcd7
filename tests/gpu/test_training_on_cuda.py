"""Training on a real CUDA device; skipped where there is none."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun, predict
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

RECIPE = Recipe(learning_rate=1e-2, n_epochs=20, batch_size=16)
SPEC = ModelSpec(width=8)


@pytest.fixture(scope="module")
def data():
    return wave_data(n_train=100)


def run_of(data, recipe=RECIPE, *, device="cuda", cache=None):
    model = build_model(SPEC, n_labels=2, seed=0)
    return TrainingRun(model, data, recipe, seed=0, device=torch.device(device), prefix_cache=cache)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
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


def test_a_run_begun_on_the_gpu_goes_on_on_a_cpu(data):
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
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3)


def test_running_out_of_memory_is_left_to_the_caller_and_leaves_the_device_usable(data):
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            next(run_of(data, replace(RECIPE, batch_size=100)).epochs())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()
    assert next(run_of(data).epochs()).epoch == 1
