"""The budget as it stands: what the study file gave, and what was added to it since."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import extension
from ecgopt.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What can be added to: the same for every study, and for every cell."""

    trials: int
    replicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One raise of the budget of a comparison that had begun."""

    before: Spend
    after: Spend
    openings: int
    """How often the sealed test had been opened by then: a larger search after a look at the test
    is not blind to it."""
    extended_at: float
    """Seconds since 1970, on the database's clock."""

    def __str__(self) -> str:
        moment = datetime.datetime.fromtimestamp(self.extended_at, tz=datetime.UTC)
        raised = [
            f"{old} → {new} {what}"
            for old, new, what in (
                (self.before.trials, self.after.trials, "trials of every study"),
                (self.before.replicates, self.after.replicates, "replicates of every cell"),
            )
            if new > old
        ]
        after = f", after {self.openings} openings of the sealed test" if self.openings else ""
        return f"{', '.join(raised)}, {moment.isoformat(timespec='seconds')}{after}"


def read_extensions(connection: Connection, comparison: str) -> tuple[Extension, ...]:
    """Return the comparison's extensions, in their order."""
    query = (
        select(extension)
        .where(extension.c.comparison == comparison)
        .order_by(extension.c.trials_before, extension.c.replicates_before)
    )
    return tuple(
        Extension(
            before=Spend(trials=row.trials_before, replicates=row.replicates_before),
            after=Spend(trials=row.trials_after, replicates=row.replicates_after),
            openings=row.openings,
            extended_at=row.extended_at,
        )
        for row in connection.execute(query)
    )


def extensions_of(database: Database, comparison: str) -> tuple[Extension, ...]:
    """Return the comparison's extensions, in their order."""
    with database.transaction() as connection:
        return read_extensions(connection, comparison)


def spend_of(spec: StudySpec) -> Spend:
    """Return the part of the budget that can be added to."""
    return Spend(trials=spec.budget.trials, replicates=spec.budget.replicates)


def extended(spec: StudySpec, extensions: Sequence[Extension]) -> StudySpec:
    """Return `spec` with the budget that its studies have now."""
    return with_spend(spec, extensions[-1].after) if extensions else spec


def as_begun(spec: StudySpec, extensions: Sequence[Extension]) -> StudySpec:
    """Return `spec` with its first budget if it names the one of now; another is left as it is.

    So a study file may stay as it was, or be brought up to date, and any other number is noticed.
    """
    if extensions and spend_of(spec) == extensions[-1].after:
        return with_spend(spec, extensions[0].before)
    return spec


def with_spend(spec: StudySpec, spend: Spend) -> StudySpec:
    """Return `spec` with other numbers of trials and replicates."""
    raised = {"trials": spend.trials, "replicates": spend.replicates}
    return spec.model_copy(update={"budget": spec.budget.model_copy(update=raised)})
