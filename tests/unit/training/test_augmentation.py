"""Changes of training signals: their statistics, their draws, and runs that resume with them."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.augmentation import Augmentation, epoch_generator
from ecgopt.training.fit import TrainingRun
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(learning_rate=3e-3, n_epochs=4, batch_size=16, dropout=0.2)
AUGMENTED = replace(RECIPE, lead_dropout=0.2, noise_millivolts=0.05, time_shift_seconds=0.5)


@pytest.fixture(scope="module")
def data():
    return wave_data()


def run_of(data, recipe, *, cache=None):
    model = build_model(ModelSpec(name="resnet1d18", width=4), n_labels=2, seed=0)
    return TrainingRun(model, data, recipe, seed=0, device=CPU, prefix_cache=cache)


def outcome(results):
    return [(r.epoch, r.train_loss, r.validation_macro_auroc, r.validation_loss) for r in results]


def changed(signals, *, epoch=0, **settings):
    off = {"lead_dropout": 0.0, "noise_millivolts": 0.0, "max_shift_samples": 0}
    return Augmentation(**{**off, **settings})(signals, epoch_generator(0, epoch, CPU))


def test_a_recipe_without_augmentation_has_none():
    assert Augmentation.of(RECIPE, 100) is None


def test_a_shift_in_seconds_follows_the_sampling_rate():
    assert [Augmentation.of(AUGMENTED, rate).max_shift_samples for rate in (100, 500)] == [50, 250]


def test_leads_are_dropped_whole_and_as_often_as_asked():
    found = changed(torch.ones(500, 12, 20), lead_dropout=0.3)
    means = found.mean(dim=2)
    assert set(means.unique().tolist()) == {0.0, 1.0}
    assert means.mean().item() == pytest.approx(0.7, abs=0.03)


def test_noise_has_the_standard_deviation_asked_for_and_no_offset():
    noise = changed(torch.zeros(50, 12, 200), noise_millivolts=0.25)
    assert noise.std().item() == pytest.approx(0.25, rel=0.02)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.005)


def test_a_shift_turns_all_leads_of_a_record_together_and_keeps_every_sample():
    signals = torch.arange(100.0).expand(400, 12, 100)
    found = changed(signals, max_shift_samples=7)
    assert torch.equal(found.sort(dim=2).values, signals)
    assert torch.equal(found, found[:, :1].expand(found.shape))
    shifts = (50 - found[:, 0, 50]).int()
    assert set(shifts.tolist()) == set(range(-7, 8))


def test_epochs_differ_and_repeat():
    signals = torch.zeros(4, 12, 50)
    first, second, again = (changed(signals, epoch=e, noise_millivolts=1.0) for e in (0, 1, 0))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_signals_of_the_batch_are_left_as_they_are():
    signals = torch.ones(4, 12, 50)
    changed(signals, noise_millivolts=1.0, lead_dropout=0.5, max_shift_samples=5)
    assert torch.equal(signals, torch.ones(4, 12, 50))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_run_ends_with_the_same_bits(data, optimizer, stop_after):
    recipe = replace(AUGMENTED, optimizer=optimizer, label_smoothing=0.1)
    whole = run_of(data, recipe)
    results = outcome(whole.epochs())
    stopped = run_of(data, recipe)
    list(islice(stopped.epochs(), stop_after))
    tensors, metadata = stopped.state()
    resumed = run_of(data, recipe)
    resumed.restore({name: tensor.clone() for name, tensor in tensors.items()}, metadata)
    assert outcome(resumed.epochs()) == results[stop_after:]
    weights = resumed.model.state_dict()
    assert all(torch.equal(value, weights[k]) for k, value in whole.model.state_dict().items())


@pytest.mark.parametrize("name", ["lead_dropout", "noise_millivolts", "time_shift_seconds"])
def test_each_change_alters_training(data, name):
    plain, other = RECIPE, replace(RECIPE, **{name: getattr(AUGMENTED, name)})
    losses = [next(run_of(data, recipe).epochs()).train_loss for recipe in (plain, other)]
    assert losses[0] != losses[1]
    assert np.isfinite(losses).all()


def test_features_of_frozen_stages_are_not_kept_where_signals_change(data, tmp_path):
    frozen = replace(AUGMENTED, n_frozen_stages=5, n_epochs=2)
    cached = run_of(data, frozen, cache=PrefixCache(tmp_path))
    assert outcome(cached.epochs()) == outcome(run_of(data, frozen).epochs())
    assert len([*tmp_path.glob("*.npy")]) == 1, "those of the validation records alone"
