"""What tells each control from the arm that it controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.data.splits import TuningData
from ecgopt.errors import StudyFileError
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.regimes.hyperparameters import published_recipe, with_parameters
from ecgopt.regimes.regimes import REGIMES, regime
from ecgopt.study_file.reading import load_spec
from ecgopt.training.fit import epoch_ranges
from ecgopt.training.optimizer import stage_rate_ratios
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Recipe
from ecgopt.training.svm import SvmRun

CPU = torch.device("cpu")
SPEC = ModelSpec(width=4)
RECIPE = Recipe(learning_rate=1e-2, n_epochs=10)


def constrained(name, recipe=RECIPE):
    return REGIMES[name].constrain(recipe, n_freezable_stages=5)


@pytest.mark.parametrize("name", ["linear_probe", "frozen_random", "svm_probe"])
def test_probes_train_nothing_but_the_head_under_the_published_recipe_too(name):
    assert constrained(name).n_frozen_stages == 5
    assert constrained(name, published_recipe()).n_frozen_stages == 5


def test_lp_ft_gives_the_head_half_of_its_own_epochs_first():
    phases = epoch_ranges(constrained("lp_ft"), 5)
    assert [(phase.n_epochs, phase.n_frozen_stages) for phase in phases] == [(5, 5), (5, 0)]


def test_lp_ft_lets_the_heads_share_be_tuned():
    recipe = with_parameters(RECIPE, {"head_first_share": 0.2})
    phases = epoch_ranges(constrained("lp_ft", recipe), 5)
    assert [(phase.n_epochs, phase.n_frozen_stages) for phase in phases] == [(2, 5), (8, 0)]


def test_layer_decay_slows_stages_towards_the_input():
    recipe = constrained("layer_decay", with_parameters(RECIPE, {"layer_decay": 0.5}))
    ratios = stage_rate_ratios(build_model(SPEC, n_labels=2, seed=0), recipe)
    assert list(ratios.values()) == [0.0625, 0.125, 0.25, 0.5, 1.0, 1.0]


def test_layer_decay_cannot_leave_its_decay_untuned(study_file):
    path = study_file(regimes='["scratch", "layer_decay"]', own="")
    with pytest.raises(
        StudyFileError, match=r"\[space.layer_decay.layer_decay\]: 'layer_decay' needs a range"
    ):
        load_spec(path)


def test_a_study_searches_no_parameter_that_its_regime_does_not_use(study_file):
    own = "[space.svm_probe]\nsvm_c = { low = 1e-3, high = 1e3, log = true }"
    spec = load_spec(study_file(regimes='["scratch", "linear_probe", "svm_probe"]', own=own))
    assert list(spec.search_space("scratch")) == ["epochs", "learning_rate"]
    assert list(spec.search_space("linear_probe")) == ["epochs", "learning_rate"]
    assert list(spec.search_space("svm_probe")) == ["svm_c"]


def test_published_is_refused_as_a_regime_and_explained():
    with pytest.raises(StudyFileError, match="a recipe and not a regime"):
        regime("published")


def svm(data, *, c=1.0, cache=None):
    recipe = Recipe(learning_rate=1.0, n_epochs=1, svm_c=c)
    model = build_model(ModelSpec(width=8), n_labels=2, seed=0)
    return SvmRun(model, data, recipe, seed=0, device=CPU, prefix_cache=cache)


def test_an_svm_learns_what_random_features_show():
    (result,) = svm(wave_data(n_train=150)).epochs()
    assert result.validation_macro_auroc > 0.9
    assert result.validation_loss < 0.6


def test_an_svm_on_kept_features_answers_as_on_computed_ones(tmp_path):
    data = wave_data()
    plain, cached = svm(data), svm(data, cache=PrefixCache(tmp_path))
    list(plain.epochs()), list(cached.epochs())
    assert np.array_equal(plain.predict(data.validation), cached.predict(data.validation))


def test_c_changes_the_svm():
    data = wave_data()
    weak, strong = svm(data, c=1e-6), svm(data, c=1.0)
    (first,), (second,) = weak.epochs(), strong.epochs()
    assert first.train_loss > second.train_loss


def test_a_label_that_too_few_records_carry_is_answered_with_its_share():
    data = wave_data()
    labels = data.train.labels.copy()
    labels[:, 1] = 0
    labels[0, 1] = 1
    rare = TuningData(replace(data.train, labels=labels), data.validation)
    run = svm(rare)
    list(run.epochs())
    assert set(run.predict(data.validation)[:, 1]) == {1 / len(data.train)}
