"""The budget as it stands: what the study file gave, and what was added to it since."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from ecgopt.tuning.spec import StudySpec
from ecgopt.tuning.storage import Database
from ecgopt.tuning.tables import extension


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One raise of the number of trials, the same for every study of the comparison."""

    trials_before: int
    trials_after: int
    openings: int
    """How often the sealed test had been opened by then: a larger search after a look at the test
    is not blind to it."""
    extended_at: float
    """Seconds since 1970, on the database's clock."""

    def __str__(self) -> str:
        moment = datetime.datetime.fromtimestamp(self.extended_at, tz=datetime.UTC)
        after = f", after {self.openings} openings of the sealed test" if self.openings else ""
        return (
            f"{self.trials_before} → {self.trials_after} trials of every study, "
            f"{moment.isoformat(timespec='seconds')}{after}"
        )


def read_extensions(connection: Connection, comparison: str) -> tuple[Extension, ...]:
    """Return the comparison's extensions, in their order."""
    query = (
        select(extension)
        .where(extension.c.comparison == comparison)
        .order_by(extension.c.trials_before)
    )
    return tuple(
        Extension(
            trials_before=row.trials_before,
            trials_after=row.trials_after,
            openings=row.openings,
            extended_at=row.extended_at,
        )
        for row in connection.execute(query)
    )


def extensions_of(database: Database, comparison: str) -> tuple[Extension, ...]:
    """Return the comparison's extensions, in their order."""
    with database.transaction() as connection:
        return read_extensions(connection, comparison)


def extended(spec: StudySpec, extensions: Sequence[Extension]) -> StudySpec:
    """Return `spec` with the budget that its studies have now."""
    return with_trials(spec, extensions[-1].trials_after) if extensions else spec


def as_begun(spec: StudySpec, extensions: Sequence[Extension]) -> StudySpec:
    """Return `spec` with its first budget if it names the one of now; another is left as it is.

    So a study file may stay as it was, or be brought up to date, and any other number is noticed.
    """
    if extensions and spec.budget.trials == extensions[-1].trials_after:
        return with_trials(spec, extensions[0].trials_before)
    return spec


def with_trials(spec: StudySpec, trials: int) -> StudySpec:
    """Return `spec` with another number of trials."""
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": trials})})
