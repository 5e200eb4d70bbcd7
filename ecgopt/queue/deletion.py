"""Deletes a comparison from the database: its studies, items, results and records."""

from sqlalchemy import Connection, delete, func, select

from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import delete_studies, study_ids
from ecgopt.database.tables import comparison as comparison_table
from ecgopt.database.tables import metadata, work_item, worker
from ecgopt.errors import UserError

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
        studies = study_ids(connection, comparison)
        delete_studies(connection, list(studies))
        for table in reversed(metadata.sorted_tables):
            column = table.c.name if table is comparison_table else table.c.comparison
            connection.execute(delete(table).where(column == comparison))
    return len(studies)


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
            worker.c.state.in_(("running", "stopping")),
            worker.c.seen_at >= database.now - _SEEN_SECONDS,
        )
    ).scalar()
    if held or seen is not None:
        who = f"{held} items are held" if held else f"worker {seen} was seen just now"
        raise UserError(
            f"a comparison with live workers cannot be deleted, but {who}: stop the workers first; "
            f"a worker that was killed counts as gone {_SEEN_SECONDS:.0f} s after it was last seen"
        )
