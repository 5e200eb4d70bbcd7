"""The samplers, which propose the parameters of trials."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ecgopt.plugins import find, wrong_type
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import SamplerTable


class _DrawsByName(optuna.samplers.BaseSampler):
    """Another sampler, whose independent draws of a parameter follow from the parameter's name.

    So a parameter that two arms share starts from the same draws in both, whatever else each arm
    searches.
    """

    def __init__(self, build: Callable[..., optuna.samplers.BaseSampler], seed: int) -> None:
        self._build, self._seed = build, seed
        self._sampler = build(seed=seed % 2**32)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - as in Optuna
        own = self._build(seed=seed_for(self._seed, param_name) % 2**32)
        return own.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)


def build_sampler(spec: StudySpec, key: StudyKey, slot: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a slot."""
    # The regime is not part of the seed: both arms start from the same random draws (they are
    # paired), and the two arms of an A/A control propose the same configurations.
    seed = seed_for(
        spec.seed, "sampler", key.downstream, key.model.label, key.n_train, key.replicate, slot
    )
    return _DrawsByName(partial(_built, spec.sampler), seed)


def _built(section: SamplerTable, *, seed: int) -> optuna.samplers.BaseSampler:
    build = find("sampler", section.name, _SAMPLERS)
    # With a lag, the slot decides when a sampler begins to learn, and not how many have ended.
    n_startup = section.startup_trials if section.lag == "free" else 1
    sampler = build(seed=seed, n_startup_trials=n_startup)
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise wrong_type(
            "sampler", section.name, "a function that returns an Optuna sampler", sampler
        )
    return sampler


def _tpe(*, seed: int, n_startup_trials: int) -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=n_startup_trials, multivariate=True, constant_liar=True
    )


def _random(*, seed: int, n_startup_trials: int) -> optuna.samplers.RandomSampler:  # noqa: ARG001
    return optuna.samplers.RandomSampler(seed=seed)


_SAMPLERS: Mapping[str, Callable[..., object]] = {"tpe": _tpe, "random": _random}
"""Each is called with `seed` and `n_startup_trials`, as one from outside the package is."""
