"""Optuna studies: creating them, opening one for a slot, and what its trial shall try."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ecgopt.database.engine import Database
from ecgopt.database.optuna.storage import BEGUN, SlotStorage
from ecgopt.database.optuna.trial_rows import FIXED_PARAMETERS
from ecgopt.jobs.pruning import build_pruner
from ecgopt.plugins import find, wrong_type
from ecgopt.regimes.hyperparameters import SearchSpace
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey, study_name
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Value

COORDINATES = "coordinates"
"""User attribute of a study: its place in the comparison."""


def create_studies(database: Database, spec: StudySpec, keys: Iterable[StudyKey]) -> dict[str, int]:
    """Create the missing Optuna studies and return every study's id by its path."""
    ids = {}
    for key in keys:
        study = optuna.create_study(
            storage=database.optuna,
            study_name=study_name(spec.name, key),
            direction="maximize",
            load_if_exists=True,
        )
        if COORDINATES not in study.user_attrs:
            study.set_user_attr(COORDINATES, _coordinates(spec, key))
        ids[key.path] = study._study_id
    return ids


def open_study(database: Database, spec: StudySpec, key: StudyKey, slot: int) -> optuna.Study:
    """Return the study with the sampler and pruner that this slot must use."""
    return optuna.load_study(
        study_name=study_name(spec.name, key),
        storage=database.optuna,
        sampler=_sampler(spec, key, slot),
        pruner=build_pruner(spec.pruning),
    )


def slot_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """Return the study's trial of this slot as it stands in the database."""
    storage = study._storage
    assert isinstance(storage, SlotStorage)
    return storage.slot(study._study_id, number)


def propose(study: optuna.Study, trial: FrozenTrial, space: SearchSpace) -> dict[str, Value]:
    """Return the parameters for a trial: those it has begun with or was given, or new ones.

    So an adopted trial keeps the proposal of its first owner.
    """
    if trial.state is not TrialState.WAITING:
        return {name: trial.params[name] for name in space}
    proposal = trial.system_attrs.get(FIXED_PARAMETERS) or _asked(study, trial, space)
    return {
        name: distribution.to_external_repr(distribution.to_internal_repr(proposal[name]))
        for name, distribution in space.distributions().items()
    }


def _asked(study: optuna.Study, trial: FrozenTrial, space: SearchSpace) -> dict[str, Any]:
    sampler = study.sampler
    # The sampler looks at the history several times: read it once, and no waiting trial.
    study._thread_local.cached_all_trials = study._storage.get_all_trials(
        study._study_id, deepcopy=False, states=BEGUN
    )
    sampler.before_trial(study, trial)
    relative_space = sampler.infer_relative_search_space(study, trial)
    proposal = dict(sampler.sample_relative(study, trial, relative_space))
    for name, distribution in space.distributions().items():
        if name not in proposal:
            proposal[name] = sampler.sample_independent(study, trial, name, distribution)
    return proposal


def _sampler(spec: StudySpec, key: StudyKey, slot: int) -> optuna.samplers.BaseSampler:
    # The regime is not part of the seed: both arms start from the same random draws (they are
    # paired), and the two arms of an A/A control propose the same configurations.
    seed = seed_for(
        spec.seed, "sampler", key.downstream, key.model.label, key.n_train, key.replicate, slot
    )
    name = spec.sampler.name
    build = find("sampler", name, _SAMPLERS)
    sampler = build(seed=seed % 2**32, n_startup_trials=spec.sampler.startup_trials)
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise wrong_type("sampler", name, "a function that returns an Optuna sampler", sampler)
    return sampler


def _tpe(*, seed: int, n_startup_trials: int) -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=n_startup_trials, multivariate=True, constant_liar=True
    )


def _random(*, seed: int, n_startup_trials: int) -> optuna.samplers.RandomSampler:  # noqa: ARG001
    return optuna.samplers.RandomSampler(seed=seed)


_SAMPLERS: Mapping[str, Callable[..., object]] = {"tpe": _tpe, "random": _random}
"""Each is called with `seed` and `n_startup_trials`, as one from outside the package is."""


def _coordinates(spec: StudySpec, key: StudyKey) -> dict[str, str | int | None]:
    return {
        "comparison": spec.name,
        "question": spec.question,
        "regime": key.regime,
        "upstream": key.upstream,
        "downstream": key.downstream,
        "model": key.model.label,
        "n_train": key.n_train,
        "replicate": key.replicate,
        "space": spec.search_space(key.regime, key.model).fingerprint(),
    }
