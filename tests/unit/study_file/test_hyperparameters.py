"""Hyperparameters are declared once: what a study file, a search and a recipe know follows."""

import math
from dataclasses import fields

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from ecgopt.errors import StudyFileError, UserError
from ecgopt.jobs.enqueued import checked_parameters
from ecgopt.regimes.hyperparameters import (
    PARAMETERS,
    Choices,
    Range,
    SearchSpace,
    published_parameters,
    published_recipe,
    with_parameters,
)
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.tables import PretrainTable, RecipeTable
from ecgopt.training.recipe import DECLARATIONS, Recipe

EVERYTHING = """
batch_size = { low = 16, high = 256, log = true }
optimizer = { choices = ["adamw", "adam", "sgd"] }
label_smoothing = { low = 0.0, high = 0.2 }
lead_dropout = { low = 0.0, high = 0.3 }
noise_millivolts = { low = 0.0, high = 0.1 }
time_shift_seconds = { low = 0.0, high = 1.0 }
"""


@pytest.mark.parametrize("field", fields(Recipe), ids=lambda field: field.name)
def test_every_field_of_the_recipe_is_declared_with_a_meaning(field):
    assert DECLARATIONS[field.name].meaning.endswith(".")


@pytest.mark.parametrize("declared", PARAMETERS.values(), ids=lambda declared: declared.name)
def test_every_published_value_is_a_point_of_the_widest_space(declared):
    assert not declared.problem(declared.published)
    assert published_parameters([declared.name], n_epochs=7).keys() == {declared.name}


@pytest.mark.parametrize("declared", PARAMETERS.values(), ids=lambda declared: declared.name)
def test_every_published_value_makes_a_recipe(declared):
    recipe = with_parameters(published_recipe(), {declared.name: declared.published})
    assert getattr(recipe, declared.recipe_field) == declared.published


def test_a_field_cannot_be_declared_without_its_published_value():
    with pytest.raises(TypeError, match="published"):
        type(PARAMETERS["epochs"])("Forgotten.")


def test_the_defaults_of_the_study_file_are_those_of_the_recipe():
    assert RecipeTable().recipe() == Recipe()
    assert PretrainTable().recipe() == Recipe(n_epochs=20)


def test_a_study_may_search_everything(study_file):
    spec = load_spec(study_file(own=EVERYTHING))
    for regime in spec.regimes:
        space = spec.search_space(regime)
        assert all(
            space.ranges[name].contains(value)
            for name, value in spec.published_values(regime).items()
        )
        assert space.distributions()["optimizer"] == CategoricalDistribution(
            ("adamw", "adam", "sgd")
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('optimizer = { choices = ["adamw", "lion"] }', "must be one of adamw, adam, sgd"),
        ('optimizer = { choices = ["adamw", "sgd"] }', "must hold the published recipe"),
        ("optimizer = { low = 0, high = 1 }", "give choices"),
        ('batch_size = { choices = ["16", "32"] }', "is a number: give low and high"),
        (
            "batch_size = { low = 16 }",
            r"\[space.shared.batch_size\] high: a range needs low and high",
        ),
        ('optimizer = { choices = ["adam", "adam"] }', "choices: must differ"),
        (
            'optimizer = { choices = ["adam", "sgd"], low = 1 }',
            "give either choices, or low and high",
        ),
        ("batch_size = { low = 16, high = 128 }", "must hold the published recipe"),
    ],
)
def test_a_range_that_does_not_fit_its_parameter_is_refused(study_file, line, message):
    with pytest.raises(StudyFileError, match=message):
        load_spec(study_file(own=line))


def test_the_fingerprint_tells_choices_apart_and_keeps_that_of_ranges():
    def fingerprint(**ranges):
        return SearchSpace(ranges).fingerprint()

    adam, sgd = Choices(("adamw", "adam")), Choices(("adamw", "sgd"))
    assert fingerprint(optimizer=adam) != fingerprint(optimizer=sgd)
    assert fingerprint(learning_rate=Range(low=1e-4, high=1e-1, log=True)) == "ace6f806e9108fff"


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.RandomSampler])
def test_samplers_draw_choices(sampler):
    space = SearchSpace({"optimizer": Choices(("adamw", "sgd")), "epochs": Range(low=1, high=9)})
    study = optuna.create_study(sampler=sampler(seed=0))
    for _ in range(20):
        trial = study.ask(space.distributions())
        assert all(space.ranges[name].contains(value) for name, value in trial.params.items())
        study.tell(trial, float(trial.params["optimizer"] == "sgd"))
    assert study.best_params["optimizer"] == "adamw"


@pytest.mark.parametrize("value", [math.nan, math.inf, 8.9, "many"])
def test_a_value_of_another_kind_is_refused(value):
    assert PARAMETERS["batch_size"].problem(value)


def test_a_user_enqueues_choices_and_whole_numbers(study_file):
    spec = load_spec(study_file())
    studies = expand_studies(spec)
    texts = {"optimizer": "sgd", "batch_size": "48"}
    assert checked_parameters(spec, studies, texts) == {"optimizer": "sgd", "batch_size": 48}
    with pytest.raises(UserError, match="optimizer must be one of adamw, adam, sgd"):
        checked_parameters(spec, studies, {"optimizer": "lion"})
