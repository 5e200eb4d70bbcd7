"""A user's own configuration as a work item beside the fair budget.

Like the diagnostics, it is unknown to Optuna: no sampler learns from it, no pruner compares with
it, no budget counts it and it cannot win.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, func, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import work_item
from ecgopt.errors import UserError, did_you_mean
from ecgopt.models.registry import freezable_stages
from ecgopt.queue.items import NewItem, add_missing, lock_comparison
from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.regimes.regimes import REGIMES, regime
from ecgopt.study_file.cells import StudyKey
from ecgopt.training.recipe import Value

_PRIORITY: Final = 900
"""After pre-trainings and before all trials: somebody waits for the answer."""


def enqueue(
    database: Database,
    comparison: str,
    studies: Sequence[StudyKey],
    parameters: Mapping[str, Value],
    label: str,
) -> list[str]:
    """Add the configuration once to each of the studies; return the keys of the new items."""
    with database.transaction() as connection:
        lock_comparison(connection, comparison)
        items = [
            _item(key, _next_number(connection, comparison, key), parameters, label)
            for key in studies
        ]
        add_missing(connection, comparison, items)
    return [item.key for item in items]


def checked_parameters(studies: Sequence[StudyKey], texts: Mapping[str, str]) -> dict[str, Value]:
    """Return the values that a user gave as text; what is not given is the study file's recipe.

    Raises:
        UserError: a name or a value has no meaning in one of the studies.
    """
    return {name: _value(studies, name, text) for name, text in texts.items()}


def _value(studies: Sequence[StudyKey], name: str, text: str) -> Value:
    for key in studies:
        if name not in (known := _meaningful(key.regime)):
            hint = did_you_mean(name, known)
            raise UserError(f"{name!r} is not a parameter of {key.regime}: {hint}")
    most = math.inf
    if name == "frozen_stages":
        most = min(freezable_stages(key.model.spec()) for key in studies)
    value = PARAMETERS[name].parsed(text)
    if problem := PARAMETERS[name].problem(value, high=most):
        raise UserError(problem)
    return value


def _meaningful(regime_name: str) -> list[str]:
    special = {name for other in REGIMES.values() for name in other.own_parameters}
    own = regime(regime_name)
    return [
        name
        for name in PARAMETERS
        if (name not in special or name in own.own_parameters) and name not in own.unused_parameters
    ]


def _next_number(connection: Connection, comparison: str, key: StudyKey) -> int:
    query = select(func.count()).where(
        work_item.c.comparison == comparison, work_item.c.item_group == _group(key)
    )
    return int(connection.execute(query).scalar_one())


def _item(key: StudyKey, number: int, parameters: Mapping[str, Value], label: str) -> NewItem:
    return NewItem(
        kind="enqueued",
        key=f"enqueued/{key.path}/{number:04d}",
        group=_group(key),
        needs=f"pretrain/{key.pretraining}" if key.pretraining else None,
        priority=_PRIORITY,
        payload={
            "study": key.payload(),
            "number": number,
            "parameters": dict(parameters),
            "label": label,
        },
    )


def _group(key: StudyKey) -> str:
    return f"enqueued/{key.path}"
