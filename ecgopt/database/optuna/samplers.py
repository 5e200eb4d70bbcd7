"""The samplers, which propose the parameters of trials from the trials that they are shown."""

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ecgopt.plugins import find, wrong_type
from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import SamplerTable


class SeenStudy(optuna.Study):
    """A study as a sampler or a pruner sees it: some of its trials, and no others."""

    def __init__(self, study: optuna.Study, seen: Sequence[FrozenTrial]) -> None:
        """Show the trials `seen`, by number, instead of all of the study."""
        vars(self).update(vars(study))
        self._seen = seen

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002 - as in Optuna
    ) -> list[FrozenTrial]:
        found = [trial for trial in self._seen if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


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


class _Independent(optuna.samplers.BaseSampler):
    """A sampler that proposes each parameter for itself."""

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - as in Optuna
        trial: FrozenTrial,  # noqa: ARG002 - as in Optuna
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self,
        study: optuna.Study,  # noqa: ARG002 - as in Optuna
        trial: FrozenTrial,  # noqa: ARG002 - as in Optuna
        search_space: dict[str, BaseDistribution],  # noqa: ARG002 - as in Optuna
    ) -> dict[str, Any]:
        return {}


class QuasiRandomSampler(_Independent):
    """Sobol points, scrambled by the study's seed: trial k gets point k of one sequence.

    Each hyperparameter has a dimension of its own, whichever others are searched, so a parameter
    that two arms share gets equal draws in both. Optuna's sampler counts points in the database, in
    the order in which workers ask.
    """

    def __init__(self, seed: int) -> None:
        """Draw from the sequence of this seed, which all slots of a study share."""
        self._seed = seed

    def sample_independent(
        self,
        study: optuna.Study,  # noqa: ARG002 - as in Optuna
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - as in Optuna
        """Return the parameter's coordinate of the slot's point."""
        # Loaded here: commands that only read studies import this module.
        import torch

        engine = torch.quasirandom.SobolEngine(len(PARAMETERS), scramble=True, seed=self._seed)
        point = engine.fast_forward(trial.number).draw(1, dtype=torch.float64)
        share = float(point[0, list(PARAMETERS).index(param_name)])
        if isinstance(param_distribution, CategoricalDistribution):
            return param_distribution.choices[int(share * len(param_distribution.choices))]
        one = _SearchSpaceTransform({param_name: param_distribution}, transform_0_1=True)
        return one.untransform(np.array([share]))[param_name]


class GaussianProcessSampler(optuna.samplers.GPSampler):
    """Optuna's sampler by a Gaussian process, which learns from pruned trials too.

    A pruned trial counts with its last report, and one that diverged before its first report with
    the worst value of all: Optuna's own leaves them out, and proposes such settings again.
    """

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a proposal for the parameters of the search space."""
        seen = study.get_trials(deepcopy=False)
        values = [each.value for each in seen if each.value is not None]
        if not values:
            return {}
        learned = [
            _as_complete(each, min(values)) if each.state is TrialState.PRUNED else each
            for each in seen
        ]
        return super().sample_relative(SeenStudy(study, learned), trial, search_space)


def _as_complete(pruned: FrozenTrial, worst: float) -> FrozenTrial:
    trial = copy.copy(pruned)
    trial.state = TrialState.COMPLETE
    trial.value = worst if pruned.value is None else pruned.value
    return trial


def build_sampler(spec: StudySpec, key: StudyKey, slot: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a slot."""
    # The regime is not part of the seed: both arms start from the same random draws (they are
    # paired), and the two arms of an A/A control propose the same configurations.
    # Nor is the network where the file describes arms, which may have networks of their own.
    network = () if spec.arms else (key.model.label,)
    names = (key.downstream, *network, key.n_train, key.replicate)
    seed = seed_for(spec.seed, "sampler", *names)
    return slot_sampler(spec.sampler, seed, slot, spec.last_seen(slot))


def slot_sampler(
    section: SamplerTable, seed: int, slot: int, last_seen: int | None
) -> optuna.samplers.BaseSampler:
    """Return the sampler of a slot of the study whose sampler has this seed.

    Where nothing is learned yet, Sobol points cover the space better than random ones.
    """
    starts = section.name in _SAMPLERS and section.learns and section.lag != "free"
    if section.name == "qmc" or (starts and last_seen is None):
        return QuasiRandomSampler(seed)
    return _DrawsByName(partial(_built, section), seed_for(seed, slot))


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


def _gp(*, seed: int, n_startup_trials: int) -> optuna.samplers.GPSampler:
    return GaussianProcessSampler(
        seed=seed, n_startup_trials=n_startup_trials, warn_independent_sampling=False
    )


def _random(*, seed: int, n_startup_trials: int) -> optuna.samplers.RandomSampler:  # noqa: ARG001
    return optuna.samplers.RandomSampler(seed=seed)


_SAMPLERS: Mapping[str, Callable[..., object]] = {"tpe": _tpe, "gp": _gp, "random": _random}
"""Each is called with `seed` and `n_startup_trials`, as one from outside the package is."""
