"""Optuna's studies: created, opened for a slot, asked for parameters, read and deleted."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from ecgopt.database.engine import Database
from ecgopt.database.optuna.pruners import build_pruner
from ecgopt.database.optuna.samplers import SeenStudy, build_sampler
from ecgopt.database.optuna.storage import BEGUN, SlotStorage
from ecgopt.database.optuna.trial_rows import FIXED_PARAMETERS, OURS, RECIPE
from ecgopt.regimes.hyperparameters import SearchSpace
from ecgopt.study_file.cells import StudyKey, study_name
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Value

_STUDIES = optuna_tables.StudyModel.__table__
_TRIALS = optuna_tables.TrialModel.__table__
_VALUES = optuna_tables.TrialValueModel.__table__
_SYSTEM = optuna_tables.StudySystemAttributeModel.__table__

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


class SlotStudy(SeenStudy):
    """A study as one slot sees it: the trials of fixed slots, which have ended."""

    def __init__(
        self,
        study: optuna.Study,
        seen: Sequence[FrozenTrial],
        pending: Callable[[], Sequence[FrozenTrial]],
    ) -> None:
        """Show the trials `seen`; `pending` returns what the slots after them try."""
        super().__init__(study, seen)
        self.pending = pending


Proposals = dict[int, Mapping[str, Value]]
"""Parameters by slot."""


def open_study(
    database: Database,
    spec: StudySpec,
    key: StudyKey,
    slot: int,
    worked_out: Proposals | None = None,
) -> optuna.Study:
    """Return the study with the sampler and pruner that this slot must use.

    Unless the study file leaves it free, they see the trials of fixed slots, which have ended
    before this one begins: whatever else has ended by now must change nothing.

    Args:
        database: Where the study is.
        spec: Of the comparison.
        key: Of the study.
        slot: Whose trial is opened.
        worked_out: Proposals of slots that have not begun, which grow by those needed here.
    """
    study = optuna.load_study(
        study_name=study_name(spec.name, key),
        storage=database.optuna,
        sampler=build_sampler(spec, key, slot),
        pruner=build_pruner(spec.pruning),
    )
    if spec.sampler.lag == "free":
        return study
    last = spec.last_seen(slot)
    if last is None:
        return SlotStudy(study, (), tuple)
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    def pending() -> Sequence[FrozenTrial]:
        known = worked_out if worked_out is not None else {}
        return _tried(study, database, spec, key, range(last + 1, slot), known)

    return SlotStudy(
        study,
        [trial for trial in ended if trial.number <= last],
        pending if spec.sampler.learns else tuple,
    )


def _tried(
    study: optuna.Study,
    database: Database,
    spec: StudySpec,
    key: StudyKey,
    slots: Iterable[int],
    worked_out: Proposals,
) -> list[FrozenTrial]:
    """Return the trials of slots as if each had just begun, whether it has ended or not begun.

    A slot's parameters follow from fixed trials, so they can be told before a worker begins it.
    """
    space = spec.search_space(key.regime, key.model)
    begun = study.get_trials(deepcopy=False, states=BEGUN)
    known: Proposals = worked_out | {trial.number: trial.params for trial in begun if trial.params}
    found = []
    for slot in slots:
        if slot not in known:
            earlier = open_study(database, spec, key, slot, known)
            known[slot] = worked_out[slot] = _proposal(earlier, slot_trial(earlier, slot), space)
        trial = create_trial(
            state=TrialState.RUNNING,
            params={name: known[slot][name] for name in space},
            distributions=space.distributions(),
        )
        trial.number = slot
        found.append(trial)
    return found


def id_of(trial: FrozenTrial) -> int:
    """Return the trial's id in the database."""
    return trial._trial_id


def slot_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """Return the study's trial of this slot as it stands in the database."""
    storage = study._storage
    assert isinstance(storage, SlotStorage)
    return storage.slot(study._study_id, number)


def reports_of(study: optuna.Study, slots: Container[int]) -> dict[int, Mapping[int, float]]:
    """Return the reports of slots that have begun, those that no sampler sees yet included."""
    begun = study._storage.get_all_trials(study._study_id, deepcopy=False, states=BEGUN)
    return {trial.number: trial.intermediate_values for trial in begun if trial.number in slots}


def propose(study: optuna.Study, trial: FrozenTrial, space: SearchSpace) -> dict[str, Value]:
    """Return the parameters for a trial: those it has begun with or was given, or new ones.

    So an adopted trial keeps the proposal of its first owner.
    """
    if trial.state is not TrialState.WAITING:
        return {name: trial.params[name] for name in space}
    return _proposal(study, trial, space)


def _proposal(study: optuna.Study, trial: FrozenTrial, space: SearchSpace) -> dict[str, Value]:
    proposal = trial.system_attrs.get(FIXED_PARAMETERS) or _asked(study, trial, space)
    return {
        name: distribution.to_external_repr(distribution.to_internal_repr(proposal[name]))
        for name, distribution in space.distributions().items()
    }


def _asked(study: optuna.Study, trial: FrozenTrial, space: SearchSpace) -> dict[str, Any]:
    sampler = study.sampler
    # The sampler looks at the history several times: read it once, and no waiting trial. It learns
    # nothing from the published recipe, which fixes other settings than the arm does.
    history = study.get_trials(deepcopy=False, states=BEGUN)
    seen = [trial for trial in history if trial.user_attrs.get(RECIPE) != "published"]
    study = SeenStudy(study, [*seen, *(study.pending() if isinstance(study, SlotStudy) else ())])
    sampler.before_trial(study, trial)
    relative_space = sampler.infer_relative_search_space(study, trial)
    proposal = dict(sampler.sample_relative(study, trial, relative_space))
    for name, distribution in space.distributions().items():
        if name not in proposal:
            proposal[name] = sampler.sample_independent(study, trial, name, distribution)
    return proposal


def _coordinates(spec: StudySpec, key: StudyKey) -> dict[str, str | int | None]:
    return {
        "comparison": spec.name,
        "question": spec.question,
        **key.coordinates(),
        "space": spec.search_space(key.regime, key.model).fingerprint(),
    }


def study_ids(connection: Connection, comparison: str) -> dict[int, str]:
    """Return the names of the comparison's studies, trade-off studies included, by id."""
    query = select(_STUDIES.c.study_id, _STUDIES.c.study_name).where(_named(comparison))
    return {
        row.study_id: row.study_name
        for row in connection.execute(query)
        if _is_of(comparison, row.study_name)
    }


def study_name_of(
    connection: Connection, *, study_id: int | None, trial_id: int | None
) -> str | None:
    """Return the name of this study, or of the study of this trial; None where there is none."""
    query = select(_STUDIES.c.study_name)
    if study_id is not None:
        query = query.where(_STUDIES.c.study_id == study_id)
    elif trial_id is not None:
        query = query.join(_TRIALS, _TRIALS.c.study_id == _STUDIES.c.study_id).where(
            _TRIALS.c.trial_id == trial_id
        )
    else:
        return None
    found = connection.execute(query).scalar()
    return str(found) if found is not None else None


def trial_counts(connection: Connection, comparison: str) -> dict[int, dict[str, int]]:
    """Return the number of trials in each state, by the id of the comparison's study."""
    query = (
        select(_TRIALS.c.study_id, _STUDIES.c.study_name, _TRIALS.c.state, func.count().label("n"))
        .join(_STUDIES, _STUDIES.c.study_id == _TRIALS.c.study_id)
        .where(_named(comparison))
        .group_by(_TRIALS.c.study_id, _STUDIES.c.study_name, _TRIALS.c.state)
    )
    counts: dict[int, dict[str, int]] = {}
    for row in connection.execute(query):
        if _is_of(comparison, row.study_name):
            counts.setdefault(row.study_id, {})[row.state.name] = row.n
    return counts


def trial_counts_by_name(
    connection: Connection, comparison: str
) -> dict[str, dict[str, tuple[int, float | None]]]:
    """Return the number of trials and their best value, by study name and state."""
    query = (
        select(
            _STUDIES.c.study_name,
            _TRIALS.c.state,
            func.count().label("n"),
            func.max(_VALUES.c.value).label("best"),
        )
        .join(_STUDIES, _STUDIES.c.study_id == _TRIALS.c.study_id)
        .outerjoin(_VALUES, _VALUES.c.trial_id == _TRIALS.c.trial_id)
        .where(_named(comparison), _TRIALS.c.trial_id.in_(OURS))
        .group_by(_STUDIES.c.study_name, _TRIALS.c.state)
    )
    counts: dict[str, dict[str, tuple[int, float | None]]] = {}
    for row in connection.execute(query):
        if _is_of(comparison, row.study_name):
            counts.setdefault(row.study_name, {})[row.state.name] = (row.n, row.best)
    return counts


def system_attributes(connection: Connection, key: str) -> Mapping[int, str]:
    """Return every study's system attribute of this key, a text, by the study's id."""
    query = select(_SYSTEM.c.study_id, _SYSTEM.c.value_json).where(_SYSTEM.c.key == key)
    return {row.study_id: row.value_json.strip('"') for row in connection.execute(query)}


def delete_studies(connection: Connection, study_ids: Sequence[int]) -> None:
    """Delete Optuna studies with all their trials, inside the caller's transaction.

    Optuna's own `delete_study` loads every trial and has a transaction to itself.
    """
    for study_id in study_ids:
        for table in reversed(optuna_tables.BaseModel.metadata.sorted_tables):
            if (condition := _belongs(table, study_id)) is not None:
                connection.execute(delete(table).where(condition))


def _belongs(table: Table, study_id: int) -> ColumnElement[bool] | None:
    if "study_id" in table.c:
        return table.c.study_id == study_id
    if "trial_id" in table.c:
        own = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id)
        return table.c.trial_id.in_(own)
    return None


def _named(comparison: str) -> ColumnElement[bool]:
    """Return SQL that finds the comparison's studies; others may be among them.

    LIKE takes "Tiny/" for "tiny/" in SQLite and MySQL, so callers check with `_is_of`.
    """
    name: ColumnElement[str] = _STUDIES.c.study_name
    return name.startswith(f"{comparison}/", autoescape=True)


def _is_of(comparison: str, study_name: str) -> bool:
    return study_name.startswith(f"{comparison}/")
