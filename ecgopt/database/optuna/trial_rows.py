"""What is written about a trial, each piece inside the caller's transaction.

Optuna's own calls open a transaction each and know no fence. Here a trial begins, reports and ends
in the transaction that renews the lease of its work item, so a former owner writes nothing at all.
Hence Optuna's tables.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import TrialState
from sqlalchemy import Connection, bindparam
from sqlalchemy.exc import IntegrityError

from ecgopt.regimes.hyperparameters import SearchSpace
from ecgopt.training.recipe import Value

FIXED_PARAMETERS = "fixed_params"
"""Optuna's own system attribute of an enqueued trial: these values are used as they are."""

RECIPE = "recipe"
"""User attribute: `published` for the recipe of the study that is re-tested, or `tuned`."""

RUN = "run"
"""User attribute: how the trial ended and what it cost, as one JSON object."""

FAILURES = "failures"
"""User attribute: how many workers the trial lost, and how it lost each of them."""

_trials = optuna_tables.TrialModel.__table__
_parameters = optuna_tables.TrialParamModel.__table__
_values = optuna_tables.TrialValueModel.__table__
_reports = optuna_tables.TrialIntermediateValueModel.__table__
_user_attributes = optuna_tables.TrialUserAttributeModel.__table__
_system_attributes = optuna_tables.TrialSystemAttributeModel.__table__

OURS = sqlalchemy.select(_user_attributes.c.trial_id).where(_user_attributes.c.key == RECIPE)
"""SQL for the ids of the trials of a budget. Others may add trials with plain Optuna: those are of
no slot, no sampler or pruner of a budget sees them, and none wins."""

# Made once: what is made inside a transaction keeps all other writers of SQLite waiting.
_BEGIN = (
    sqlalchemy.update(_trials)
    .where(_trials.c.trial_id == bindparam("of"), _trials.c.state == TrialState.WAITING)
    .values(state=TrialState.RUNNING, datetime_start=bindparam("now"))
)
_CLOSE = (
    sqlalchemy.update(_trials)
    .where(
        _trials.c.trial_id == bindparam("of"),
        _trials.c.state.in_((TrialState.WAITING, TrialState.RUNNING)),
    )
    .values(
        state=bindparam("to"),
        datetime_start=sqlalchemy.func.coalesce(_trials.c.datetime_start, bindparam("now")),
        datetime_complete=bindparam("now"),
    )
)
_ADD_REPORT = sqlalchemy.insert(_reports)
_ADD_VALUE = sqlalchemy.insert(_values)
_ADD_ATTRIBUTE = sqlalchemy.insert(_user_attributes)
_REMOVE_ATTRIBUTE = sqlalchemy.delete(_user_attributes).where(
    _user_attributes.c.trial_id == bindparam("of"), _user_attributes.c.key == bindparam("name")
)


def add_slots(
    connection: Connection,
    study_id: int,
    numbers: Sequence[int],
    fixed: Mapping[int, Mapping[str, Value]],
) -> None:
    """Insert WAITING trials with exactly these numbers.

    The trials of a budget exist from the start, so that claiming slot k means running trial
    number k: no worker ever creates a trial, and the budget cannot be exceeded. A trial that
    someone added with plain Optuna gives its number up for a higher one.
    """
    _renumber_others(connection, study_id, numbers)
    connection.execute(
        sqlalchemy.insert(_trials),
        [{"number": n, "study_id": study_id, "state": TrialState.WAITING} for n in numbers],
    )
    query = sqlalchemy.select(_trials.c.trial_id, _trials.c.number).where(
        _trials.c.study_id == study_id, _trials.c.number.in_(list(numbers))
    )
    ids = {number: trial_id for trial_id, number in connection.execute(query)}
    recipes = [_attribute(ids[n], RECIPE, "published" if n in fixed else "tuned") for n in numbers]
    connection.execute(sqlalchemy.insert(_user_attributes), recipes)
    if fixed:
        connection.execute(
            sqlalchemy.insert(_system_attributes),
            [_attribute(ids[n], FIXED_PARAMETERS, dict(values)) for n, values in fixed.items()],
        )


def _renumber_others(connection: Connection, study_id: int, numbers: Sequence[int]) -> None:
    of_study = _trials.c.study_id == study_id
    others = connection.execute(
        sqlalchemy.select(_trials.c.trial_id)
        .where(of_study, _trials.c.number.in_(list(numbers)), _trials.c.trial_id.not_in(OURS))
        .order_by(_trials.c.number)
    ).scalars()
    found = list(others)
    if not found:
        return
    last = connection.execute(
        sqlalchemy.select(sqlalchemy.func.max(_trials.c.number)).where(of_study)
    ).scalar_one()
    for number, trial_id in enumerate(found, max(last, *numbers) + 1):
        connection.execute(
            sqlalchemy.update(_trials).where(_trials.c.trial_id == trial_id).values(number=number)
        )


def begin_trial(
    connection: Connection, trial_id: int, parameters: Mapping[str, Value], space: SearchSpace
) -> None:
    """Make a WAITING trial RUNNING with all its parameters; one that has begun stays as it is.

    State and parameters stand in one transaction: whoever adopts the trial finds all or none.
    """
    begun = connection.execute(_BEGIN, {"of": trial_id, "now": _now()})
    if not begun.rowcount or not parameters:
        return
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distribution.to_internal_repr(parameters[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in space.distributions().items()
    ]
    connection.execute(sqlalchemy.insert(_parameters), rows)


class ReportExists(Exception):
    """The trial has a report of this step."""


def add_report(connection: Connection, trial_id: int, step: int, value: float) -> None:
    """Insert a report of the trial.

    Raises:
        ReportExists: the step has been reported; the transaction is void.
    """
    stored, kind = optuna_tables.TrialIntermediateValueModel.intermediate_value_to_stored_repr(
        value
    )
    report = {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}
    try:
        connection.execute(_ADD_REPORT, {"trial_id": trial_id, **report})
    except IntegrityError as error:
        raise ReportExists from error


def close_trial(
    connection: Connection,
    trial_id: int,
    state: TrialState,
    value: float | None,
    account: Mapping[str, Any],
) -> None:
    """End a trial with its value and account; one that has ended stays as it is."""
    closed = connection.execute(_CLOSE, {"of": trial_id, "to": state, "now": _now()})
    if not closed.rowcount:
        return
    put_attribute(connection, trial_id, RUN, dict(account))
    if value is not None:
        stored, kind = optuna_tables.TrialValueModel.value_to_stored_repr(value)
        row = {"trial_id": trial_id, "objective": 0, "value": stored, "value_type": kind}
        connection.execute(_ADD_VALUE, row)


def reopen_trial(connection: Connection, study_id: int, number: int) -> None:
    """Make a FAILED trial RUNNING again, with its parameters and reports; others stay as they are.

    Args:
        connection: With the transaction that frees the trial's work item.
        study_id: Of the Optuna study.
        number: Of the trial.
    """
    query = sqlalchemy.select(_trials.c.trial_id).where(
        _trials.c.study_id == study_id,
        _trials.c.number == number,
        _trials.c.state == TrialState.FAIL,
    )
    trial_id = connection.execute(query).scalar()
    if trial_id is None:
        return
    has_begun = connection.execute(
        sqlalchemy.select(_parameters.c.param_id).where(_parameters.c.trial_id == trial_id)
    ).first()
    connection.execute(
        sqlalchemy.update(_trials)
        .where(_trials.c.trial_id == trial_id)
        .values(
            state=TrialState.RUNNING if has_begun else TrialState.WAITING, datetime_complete=None
        )
    )
    connection.execute(_REMOVE_ATTRIBUTE, {"of": trial_id, "name": RUN})


def put_attribute(connection: Connection, trial_id: int, key: str, value: object) -> None:
    """Write a user attribute of the trial in place of what stood there."""
    connection.execute(_REMOVE_ATTRIBUTE, {"of": trial_id, "name": key})
    connection.execute(_ADD_ATTRIBUTE, _attribute(trial_id, key, value))


def _now() -> datetime:
    # Optuna's columns hold UTC and do not say so.
    return datetime.now(UTC).replace(tzinfo=None)


def _attribute(trial_id: int, key: str, value: object) -> dict[str, object]:
    return {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
