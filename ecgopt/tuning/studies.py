"""Optuna studies: creating them, their slots, and opening one for a trial."""

import json
from collections.abc import Iterable, Mapping, Sequence

import optuna
import sqlalchemy
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Connection

from ecgopt.regimes.space import SearchSpace, Value
from ecgopt.seeds import seed_for
from ecgopt.tuning.cells import StudyKey, study_name
from ecgopt.tuning.pruning import build_pruner
from ecgopt.tuning.slot_storage import BEGUN, SlotStorage
from ecgopt.tuning.spec import StudySpec
from ecgopt.tuning.storage import Database

FIXED_PARAMETERS = "fixed_params"
"""Optuna's own system attribute of an enqueued trial: `suggest` returns these values."""

RECIPE = "recipe"
"""User attribute: `published`, `tuned`, or `extra` for a trial outside the fair budget."""

RUN = "run"
"""User attribute: how the trial ended and what it cost, as one JSON object."""

LOSSES = "losses"
"""User attribute: how many workers the trial lost, and how it lost the last one."""

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


def add_slots(
    connection: Connection,
    study_id: int,
    numbers: Sequence[int],
    fixed: Mapping[int, Mapping[str, Value]],
) -> None:
    """Insert WAITING trials with exactly these numbers, inside the caller's transaction.

    The trials of a budget exist from the start, so that claiming slot k means running trial
    number k: no worker ever creates a trial, and the budget cannot be exceeded. Optuna offers
    no call that does this in our transaction, hence its tables.
    """
    trials = optuna_tables.TrialModel.__table__
    connection.execute(
        sqlalchemy.insert(trials),
        [{"number": n, "study_id": study_id, "state": TrialState.WAITING} for n in numbers],
    )
    query = sqlalchemy.select(trials.c.trial_id, trials.c.number).where(
        trials.c.study_id == study_id, trials.c.number.in_(list(numbers))
    )
    ids = {number: trial_id for trial_id, number in connection.execute(query)}
    recipes = [_attribute(ids[n], RECIPE, "published" if n in fixed else "tuned") for n in numbers]
    connection.execute(sqlalchemy.insert(optuna_tables.TrialUserAttributeModel.__table__), recipes)
    if fixed:
        connection.execute(
            sqlalchemy.insert(optuna_tables.TrialSystemAttributeModel.__table__),
            [_attribute(ids[n], FIXED_PARAMETERS, dict(values)) for n, values in fixed.items()],
        )


def open_study(database: Database, spec: StudySpec, key: StudyKey, slot: int) -> optuna.Study:
    """Return the study with the sampler and pruner that this slot must use."""
    return optuna.load_study(
        study_name=study_name(spec.name, key),
        storage=database.optuna,
        sampler=_sampler(spec, key, slot),
        pruner=build_pruner(spec.pruning),
    )


def start_or_adopt(
    study: optuna.Study, number: int, space: SearchSpace
) -> tuple[Trial, dict[str, Value]]:
    """Return the slot's trial, RUNNING, with its parameters; a dead worker's trial is adopted.

    The whole proposal is stored in one write before any parameter is, so an adopted trial keeps
    the proposal of its first owner even when that owner died half-way through. Repeatable.
    """
    storage = study._storage
    assert isinstance(storage, SlotStorage)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    frozen = storage.get_trial(trial_id)
    if frozen.state.is_finished():
        return Trial(study, trial_id), dict(frozen.params)
    # Without it, a new parameter of an adopted trial is a KeyError in Optuna's cache.
    storage.remember(study._study_id, frozen)
    storage.set_trial_state_values(trial_id, state=TrialState.RUNNING)
    if FIXED_PARAMETERS not in frozen.system_attrs:
        proposal = _propose(study, frozen, space)
        storage.set_trial_system_attr(trial_id, FIXED_PARAMETERS, proposal)
    trial = Trial(study, trial_id)
    return trial, space.suggest(trial)


def add_report(connection: Connection, trial: Trial, step: int, value: float) -> None:
    """Insert a report of the trial in the caller's transaction.

    One statement, in the transaction that checks the fence: a former owner of the trial cannot
    report any more. Optuna's own call cannot be made part of a transaction.
    """
    row = optuna_tables.TrialIntermediateValueModel
    stored, kind = row.intermediate_value_to_stored_repr(value)
    connection.execute(
        sqlalchemy.insert(row.__table__).values(
            trial_id=trial._trial_id,
            step=step,
            intermediate_value=stored,
            intermediate_value_type=kind,
        )
    )


def _propose(study: optuna.Study, frozen: FrozenTrial, space: SearchSpace) -> dict[str, Value]:
    sampler = study.sampler
    # The sampler looks at the history several times: read it once, and no waiting trial.
    study._thread_local.cached_all_trials = study._storage.get_all_trials(
        study._study_id, deepcopy=False, states=BEGUN
    )
    sampler.before_trial(study, frozen)
    relative_space = sampler.infer_relative_search_space(study, frozen)
    proposal = dict(sampler.sample_relative(study, frozen, relative_space))
    for name, distribution in space.distributions().items():
        if name not in proposal:
            proposal[name] = sampler.sample_independent(study, frozen, name, distribution)
    return proposal


def _sampler(spec: StudySpec, key: StudyKey, slot: int) -> optuna.samplers.BaseSampler:
    # The regime is not part of the seed: both arms start from the same random draws (they are
    # paired), and the two arms of an A/A control propose the same configurations.
    seed = seed_for(
        spec.seed, "sampler", key.downstream, key.model.label, key.n_train, key.replicate, slot
    )
    if spec.sampler.name == "random":
        return optuna.samplers.RandomSampler(seed=seed % 2**32)
    return optuna.samplers.TPESampler(
        seed=seed % 2**32,
        n_startup_trials=spec.sampler.startup_trials,
        multivariate=True,
        constant_liar=True,
    )


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


def _attribute(trial_id: int, key: str, value: object) -> dict[str, object]:
    return {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
