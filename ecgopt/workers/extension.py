"""A larger budget for a comparison that has begun: the same for every study, and on the record."""

import json

from sqlalchemy import Connection, bindparam, func, insert, select, update

from ecgopt.errors import UserError
from ecgopt.tuning.cells import expand_studies
from ecgopt.tuning.extensions import Extension, extended, read_extensions, with_trials
from ecgopt.tuning.spec import StudySpec
from ecgopt.tuning.storage import Database
from ecgopt.tuning.studies import create_studies
from ecgopt.tuning.tables import extension, sealed_opening, work_item
from ecgopt.workers.setup import insert_work, lock_comparison


def extend(database: Database, spec: StudySpec, trials: int) -> Extension:
    """Give every study of the comparison `trials` trials in all, and have winners chosen anew.

    Slots, items and the record are one transaction: no worker meets half an extension. The final
    fits of tuned recipes wait for the new trials; where the winner stays, its scores stand.

    Args:
        database: Of the comparison.
        spec: Of the study file.
        trials: Of each study after this; more than before.

    Raises:
        UserError: `trials` is not more than the studies have.
    """
    keys = list(expand_studies(spec))
    study_ids = create_studies(database, spec, keys)
    with database.transaction() as connection:
        lock_comparison(connection, spec.name)
        before = extended(spec, read_extensions(connection, spec.name)).budget.trials
        if trials <= before:
            raise UserError(
                f"`trials > {before}` must hold, because every study of {spec.name!r} has {before} "
                f"already, but got {trials}"
            )
        connection.execute(
            insert(extension).values(
                comparison=spec.name,
                trials_before=before,
                trials_after=trials,
                openings=_openings(connection, spec.name),
                extended_at=database.now,
            )
        )
        insert_work(connection, with_trials(spec, trials), keys, study_ids)
        _reopen_finals(connection, spec.name)
        return read_extensions(connection, spec.name)[-1]


def _openings(connection: Connection, comparison: str) -> int:
    query = select(func.count()).where(
        sealed_opening.c.comparison == comparison, sealed_opening.c.reused == 0
    )
    return int(connection.execute(query).scalar_one())


def _reopen_finals(connection: Connection, comparison: str) -> None:
    # Running ones too: they train a winner that the new trials may beat.
    query = select(work_item.c.id, work_item.c.payload).where(
        work_item.c.comparison == comparison, work_item.c.kind == "final"
    )
    tuned = [
        {"item": row.id}
        for row in connection.execute(query)
        if json.loads(row.payload)["role"] == "tuned"
    ]
    if tuned:
        connection.execute(
            update(work_item)
            .where(work_item.c.id == bindparam("item"))
            .values(
                state="free",
                owner=None,
                lease_until=None,
                fence=work_item.c.fence + 1,
                losses=0,
                progress=0,
                cause=None,
                finished_at=None,
            ),
            tuned,
        )
