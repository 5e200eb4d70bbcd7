"""A larger budget for a comparison that has begun: the same for every study, and on the record."""

from collections.abc import Mapping
from dataclasses import replace

from ecgopt.comparison.opening import insert_work
from ecgopt.database.comparisons import (
    Extension,
    Spend,
    add_extension,
    extended,
    extensions_of,
    read_extensions,
    spend_of,
    with_spend,
)
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import create_studies
from ecgopt.errors import UserError
from ecgopt.jobs.final import FinalJob, FinalPayload
from ecgopt.jobs.job import read
from ecgopt.queue.locking import lock_comparison
from ecgopt.queue.openings import count_openings
from ecgopt.queue.results import reopen
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.spec import StudySpec


class ExtendedMeanwhile(UserError):
    """Another process extended the comparison at the same moment."""


def extend(
    database: Database,
    spec: StudySpec,
    *,
    trials: int | None = None,
    replicates: int | None = None,
    stopped: Mapping[str, int] | None = None,
    seen: Spend | None = None,
) -> Extension:
    """Give the comparison more trials of every study, more replicates of every cell, or both.

    Slots, items and the record are one transaction: no worker meets half an extension. With more
    trials, winners are chosen again, and the final fits of tuned recipes wait for the new trials;
    where the winner stays, its scores stand. More replicates leave the present ones as they are.

    Args:
        database: Of the comparison.
        spec: Of the study file.
        trials: Of each study after this, more than before; None leaves the number.
        replicates: Of each cell after this, more than before; None leaves the number.
        stopped: Replicates of the cells, by path, that are decided and get no more; None leaves
            those that were stopped before.
        seen: The budget whose results were looked at; None takes the one of now.

    Raises:
        UserError: a number is not more than there are, or neither is given.
        ExtendedMeanwhile: another process extended the comparison at the same moment.
    """
    extensions = extensions_of(database, spec.name)
    before = spend_of(extended(spec, extensions))
    if seen is not None and seen != before:
        raise ExtendedMeanwhile(
            f"study {spec.name!r} got an extension after the look at its results"
        )
    after = _raised(spec.name, before, trials, replicates)
    if stopped is not None:
        after = replace(after, stopped=stopped)
    keys = list(expand_studies(with_spend(spec, after)))
    study_ids = create_studies(database, spec, keys)
    with database.transaction() as connection:
        lock_comparison(connection, spec.name)
        if read_extensions(connection, spec.name) != extensions:
            raise ExtendedMeanwhile(
                f"one extension at a time must be made, but study {spec.name!r} got another just "
                "now: extend it again if that was not the same"
            )
        openings = count_openings(connection, spec.name)
        made = add_extension(
            database, connection, spec.name, before=before, after=after, openings=openings
        )
        insert_work(connection, with_spend(spec, after), keys, study_ids)
        if after.trials > before.trials:
            # Running ones too: they train a winner that the new trials may beat.
            finals = FinalJob.items(with_spend(spec, after), keys)
            tuned = [f.key for f in finals if read(FinalPayload, f.payload).role == "tuned"]
            reopen(connection, spec.name, tuned)
        return made


def _raised(name: str, now: Spend, trials: int | None, replicates: int | None) -> Spend:
    """Return the budget after the extension that is asked for."""
    if trials is None and replicates is None:
        raise UserError(
            "an extension must raise trials or replicates, but neither is given: add --trials or "
            "--replicates"
        )
    if trials is not None and trials <= now.trials:
        raise UserError(
            f"`trials > {now.trials}` must hold, because every study of {name!r} has "
            f"{now.trials} already, but got {trials}"
        )
    if replicates is not None and replicates <= now.replicates:
        raise UserError(
            f"`replicates > {now.replicates}` must hold, because every cell of {name!r} has "
            f"{now.replicates} already, but got {replicates}"
        )
    return replace(now, trials=trials or now.trials, replicates=replicates or now.replicates)
