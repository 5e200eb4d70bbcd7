"""The recipe of a run: fixed, tuned, published, or chosen on validation alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from ecgopt.evidence.records import FinalRole, TrialEvidence
from ecgopt.evidence.selection import choose_learning_rate, choose_winner
from ecgopt.models.registry import freezable_stages
from ecgopt.regimes.hyperparameters import published_recipe, with_parameters, with_precision_of
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Recipe, Value

RecipeKind = Literal["tuned", "published"]


def arm_recipe(
    spec: StudySpec, key: StudyKey, kind: RecipeKind, parameters: Mapping[str, Value]
) -> Recipe:
    """Return the recipe of one run: the study's fixed part with the tuned values, or as published.

    The published recipe is fixed as a whole; its precision follows the study, and the regime
    constrains it as any other.

    Args:
        spec: The comparison.
        key: The study.
        kind: Whether the recipe is the published one.
        parameters: The tuned values; the published recipe ignores them.
    """
    recipe = spec.recipe.recipe()
    if kind == "published":
        recipe = with_precision_of(published_recipe(n_epochs=spec.published.epochs), recipe)
    else:
        recipe = with_parameters(recipe, parameters)
    n_freezable_stages = freezable_stages(key.model.spec())
    return spec.start(key.regime).constrain(recipe, n_freezable_stages=n_freezable_stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A recipe, and the trial that it comes from."""

    trial_number: int
    parameters: Mapping[str, Value]
    recipe: Recipe


def choose_configuration(
    spec: StudySpec, key: StudyKey, role: FinalRole, trials: Sequence[TrialEvidence]
) -> Configuration:
    """Return what the final fits of `role` train.

    Args:
        spec: The comparison.
        key: The study.
        role: Of the final fits.
        trials: Of the study, with those beside its budget.

    Raises:
        UserError: no trial may be chosen.
    """
    match role:
        case "published":
            return published_configuration(spec, key)
        case "learning_rate":
            return _own_rate(spec, key, choose_learning_rate(trials))
        case "tuned":
            return configuration_of(spec, key, choose_winner(trials))
    assert_never(role)


def published_configuration(spec: StudySpec, key: StudyKey) -> Configuration:
    """Return the published recipe, which is trial 0 of every study."""
    return Configuration(
        trial_number=0,
        parameters=spec.published_values(key.regime),
        recipe=arm_recipe(spec, key, "published", {}),
    )


def configuration_of(spec: StudySpec, key: StudyKey, trial: TrialEvidence) -> Configuration:
    """Return what a trial of the budget trained."""
    parameters = {name: trial.parameters[name] for name in sorted(trial.parameters)}
    return Configuration(
        trial_number=trial.number,
        parameters=parameters,
        # Trial 0 is the published recipe: where it wins the study, the winner is that recipe.
        recipe=arm_recipe(spec, key, "tuned" if trial.number else "published", parameters),
    )


def with_learning_rate(spec: StudySpec, key: StudyKey, rate: float, number: int) -> Configuration:
    """Return the published recipe with another learning rate."""
    published = published_configuration(spec, key)
    return Configuration(
        trial_number=number,
        parameters={**published.parameters, "learning_rate": rate},
        recipe=replace(published.recipe, learning_rate=rate),
    )


def _own_rate(spec: StudySpec, key: StudyKey, trial: TrialEvidence) -> Configuration:
    return with_learning_rate(spec, key, float(trial.parameters["learning_rate"]), trial.number)
