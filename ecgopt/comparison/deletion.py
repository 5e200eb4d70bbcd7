"""Deleting a comparison from the database: its studies, items, results and records."""

from collections.abc import Sequence

from optuna.storages._rdb import models as optuna_tables
from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import comparison as comparison_table
from ecgopt.database.tables import metadata, work_item, worker
from ecgopt.errors import UserError

_STUDIES = optuna_tables.StudyModel.__table__
_TRIALS = optuna_tables.TrialModel.__table__

_SEEN_SECONDS = 120.0
"""A worker last seen longer ago than this, and without a lease, is taken to be gone."""


def remove_comparison(database: Database, comparison: str) -> int:
    """Delete everything the database holds of a comparison; return the number of studies.

    One transaction: a worker meets either the whole comparison or none of it.

    Raises:
        UserError: workers are at work on it.
    """
    with database.transaction() as connection:
        _refuse_live(database, connection, comparison)
        named = _STUDIES.c.study_name.startswith(f"{comparison}/", autoescape=True)
        study_ids = list(connection.execute(select(_STUDIES.c.study_id).where(named)).scalars())
        delete_studies(connection, study_ids)
        for table in reversed(metadata.sorted_tables):
            column = table.c.name if table is comparison_table else table.c.comparison
            connection.execute(delete(table).where(column == comparison))
    return len(study_ids)


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


def _refuse_live(database: Database, connection: Connection, comparison: str) -> None:
    held = connection.execute(
        select(func.count()).where(
            work_item.c.comparison == comparison,
            work_item.c.state == "held",
            work_item.c.lease_until >= database.now,
        )
    ).scalar_one()
    seen = connection.execute(
        select(worker.c.owner).where(
            worker.c.comparison == comparison,
            worker.c.state != "gone",
            worker.c.seen_at >= database.now - _SEEN_SECONDS,
        )
    ).scalar()
    if held or seen is not None:
        who = f"{held} items are held" if held else f"worker {seen} was seen just now"
        raise UserError(
            f"a comparison with live workers cannot be deleted, but {who}: stop the workers first; "
            f"a worker that was killed counts as gone {_SEEN_SECONDS:.0f} s after it was last seen"
        )
