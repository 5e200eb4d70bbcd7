"""The two-objective study of a cell: score against training time, filled from finished trials.

Optuna cannot prune a multi-objective study, so the search has one objective and its finished trials
are copied here, where Optuna's Pareto page can show them. Nobody ever asks this study for a trial.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import optuna
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import TrialState
from sqlalchemy import Connection, Row, insert, literal, select, update

from ecgopt.database.engine import Database
from ecgopt.database.optuna.trial_rows import RECIPE, RUN
from ecgopt.database.tables import trade_point
from ecgopt.study_file.cells import Cell, StudyKey, size_in_path

METRICS: Final = ("validation macro AUROC", "training seconds")

_STUDIES = optuna_tables.StudyModel.__table__
_TRIALS = optuna_tables.TrialModel.__table__
_VALUES = optuna_tables.TrialValueModel.__table__
_PARAMETERS = optuna_tables.TrialParamModel.__table__
_ATTRIBUTES = optuna_tables.TrialUserAttributeModel.__table__
_FINITE = optuna_tables.TrialValueModel.TrialValueType.FINITE


def trade_off_name(comparison: str, cell: Cell, replicate: int) -> str:
    """Return the name of the trade-off study of one replicate of a cell."""
    return (
        f"{comparison}/{cell.downstream}/{cell.network}/{size_in_path(cell.n_train)}"
        f"/r{replicate}/from-{cell.upstream}/trade-off"
    )


def open_trade_off(database: Database, name: str) -> int:
    """Return the id of the trade-off study called `name`, which is created when missing."""
    study = optuna.create_study(
        storage=database.optuna,
        study_name=name,
        directions=["maximize", "minimize"],
        load_if_exists=True,
    )
    return int(study._study_id)


def fill_trade_off(
    connection: Connection, comparison: str, trade_off: int, studies: Mapping[int, StudyKey]
) -> None:
    """Copy the complete trials that are not there yet.

    Each copy and the row that remembers its source are written together, and a source may be
    remembered once only: however many writers race, a trial is never copied twice.

    Args:
        connection: With a transaction of its own.
        comparison: Name of the comparison.
        trade_off: Id of the trade-off study.
        studies: The studies to copy from, by their id.
    """
    connection.execute(
        update(_STUDIES)
        .where(_STUDIES.c.study_id == trade_off)
        .values(study_name=_STUDIES.c.study_name)
    )
    query = select(trade_point.c.source_trial).where(trade_point.c.study_id == trade_off)
    copied = set(connection.execute(query).scalars())
    new = [row for row in _complete(connection, list(studies)) if row.trial_id not in copied]
    for number, row in enumerate(new, start=len(copied)):
        _copy(connection, trade_off, number, row, studies[row.study_id])
        connection.execute(
            insert(trade_point).values(
                comparison=comparison,
                study_id=trade_off,
                source_trial=row.trial_id,
                number=number,
            )
        )


def _complete(connection: Connection, study_ids: Sequence[int]) -> list[Row[Any]]:
    run, recipe = _ATTRIBUTES.alias("run"), _ATTRIBUTES.alias("recipe")
    query = (
        select(
            _TRIALS,
            _VALUES.c.value,
            run.c.value_json.label("run"),
            recipe.c.value_json.label("recipe"),
        )
        .join(_VALUES, _VALUES.c.trial_id == _TRIALS.c.trial_id)
        .join(run, (run.c.trial_id == _TRIALS.c.trial_id) & (run.c.key == RUN))
        .join(recipe, (recipe.c.trial_id == _TRIALS.c.trial_id) & (recipe.c.key == RECIPE))
        .where(_TRIALS.c.study_id.in_(study_ids), _TRIALS.c.state == TrialState.COMPLETE)
        .order_by(_TRIALS.c.trial_id)
    )
    return [row for row in connection.execute(query) if row.value is not None]


def _copy(
    connection: Connection, trade_off: int, number: int, row: Row[Any], source: StudyKey
) -> None:
    connection.execute(
        insert(_TRIALS).values(
            number=number,
            study_id=trade_off,
            state=TrialState.COMPLETE,
            datetime_start=row.datetime_start,
            datetime_complete=row.datetime_complete,
        )
    )
    trial_id = connection.execute(
        select(_TRIALS.c.trial_id).where(
            _TRIALS.c.study_id == trade_off, _TRIALS.c.number == number
        )
    ).scalar_one()
    values = (row.value, json.loads(row.run)["seconds"])
    connection.execute(
        insert(_VALUES),
        [
            {"trial_id": trial_id, "objective": index, "value": value, "value_type": _FINITE}
            for index, value in enumerate(values)
        ],
    )
    attributes = {
        "regime": source.regime,
        "study": source.path,
        "trial": row.number,
        "recipe": json.loads(row.recipe),
    }
    connection.execute(
        insert(_ATTRIBUTES),
        [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for key, value in attributes.items()
        ],
    )
    columns = ("param_name", "param_value", "distribution_json")
    own = select(literal(trial_id), *(_PARAMETERS.c[name] for name in columns)).where(
        _PARAMETERS.c.trial_id == row.trial_id
    )
    connection.execute(insert(_PARAMETERS).from_select(["trial_id", *columns], own))
