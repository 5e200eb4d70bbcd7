"""Rows of comparisons: what each began with, and the extensions of its budget."""

import datetime
import json
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from ecgopt.database.engine import Database
from ecgopt.database.tables import comparison, extension, workspace
from ecgopt.errors import StudyFileError, StudyMismatch
from ecgopt.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison:
    """A comparison as it began."""

    content: Mapping[str, Any]
    """Scientific content of the study file."""
    prepared: Mapping[str, str]
    """Names of the prepared folders by data name."""
    provenance: Mapping[str, Any]
    """Versions, commit and host."""
    folder: str
    """Of its files in the workspace: its name and a random id, since another database may hold
    another comparison of the same name."""
    created_at: float
    """Seconds since 1970, on the database's clock."""


def stored_comparison(database: Database, name: str) -> StoredComparison | None:
    """Return the comparison of this name, or None where it has not begun."""
    with database.transaction() as connection:
        rows = connection.execute(select(comparison).where(comparison.c.name == name)).all()
    # MySQL takes "Tiny" for "tiny".
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        return None
    return StoredComparison(
        content=json.loads(row.content),
        prepared=json.loads(row.prepared),
        provenance=json.loads(row.provenance),
        folder=row.folder,
        created_at=row.created_at,
    )


def store_comparison(
    database: Database,
    name: str,
    *,
    content: Mapping[str, Any],
    prepared: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> StoredComparison:
    """Store the comparison unless it is there; return what is stored, by whichever process.

    Args:
        database: Where to store it.
        name: Of the comparison.
        content: Scientific content of the study file.
        prepared: Names of the prepared folders by data name.
        provenance: Versions, commit and host.

    Raises:
        StudyMismatch: another comparison has a name that some databases take for the same.
    """
    for other in comparison_names(database):
        if other != name and _folded(other) == _folded(name):
            raise StudyMismatch(
                f"names of studies must differ by more than upper and lower case, but {name!r} and "
                f"{other!r} do not: choose another name"
            )
    values = {
        "name": name,
        "content": json.dumps(content),
        "prepared": json.dumps(dict(prepared)),
        "provenance": json.dumps(provenance),
        "folder": f"{name}-{uuid.uuid4().hex[:12]}",
        "created_at": database.now,
    }
    try:
        with database.transaction() as connection:
            connection.execute(insert(comparison).values(values))
    except IntegrityError:
        pass  # another process stored it first, and the row below is that one's
    stored = stored_comparison(database, name)
    assert stored is not None
    return stored


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def workspaces_of(connection: Connection, name: str) -> dict[str, str]:
    """Return the workspaces that the comparison's workers may use: identity to path."""
    query = (
        select(workspace.c.identity, workspace.c.path)
        .where(workspace.c.comparison == name)
        .order_by(workspace.c.id)
    )
    return {row.identity: row.path for row in connection.execute(query)}


def add_workspace(
    database: Database, connection: Connection, name: str, *, identity: str, path: str
) -> None:
    """Let the comparison's workers use a workspace, inside the caller's transaction.

    Args:
        database: Whose clock is used.
        connection: With the transaction, which holds the comparison's lock.
        name: Of the comparison.
        identity: Of the workspace.
        path: Where it is, for people.
    """
    connection.execute(
        insert(workspace).values(
            comparison=name, identity=identity, path=path, joined_at=database.now
        )
    )


def comparison_names(database: Database) -> list[str]:
    """Return the names of all comparisons in the database."""
    with database.transaction() as connection:
        return list(connection.execute(select(comparison.c.name)).scalars())


def users_of_prepared(database: Database) -> dict[str, list[str]]:
    """Return the names of prepared folders, each with the comparisons that use it."""
    with database.transaction() as connection:
        rows = connection.execute(select(comparison.c.name, comparison.c.prepared)).all()
    users: dict[str, list[str]] = {}
    for row in rows:
        for folder in set(json.loads(row.prepared).values()):
            users.setdefault(folder, []).append(row.name)
    return users


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The part of the budget that can be extended."""

    trials: int
    """Of every study."""
    replicates: int
    """Of every cell that is not stopped."""
    stopped: Mapping[str, int] = field(default_factory=dict)
    """Replicates of the cells that are decided and get no more, by the cell's path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One raise of the budget of a comparison that had begun."""

    before: Spend
    after: Spend
    openings: int
    """Openings of the sealed test before it: a larger search after a look at the test is not blind
    to it."""
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
        if n_stopped := len(self.after.stopped):
            raised.append(f"{n_stopped} decided cell{'s' * (n_stopped != 1)} left as they are")
        after = f", after {self.openings} openings of the sealed test" if self.openings else ""
        return f"{', '.join(raised)}, {moment.isoformat(timespec='seconds')}{after}"


def extensions_of(database: Database, name: str) -> tuple[Extension, ...]:
    """Return the comparison's extensions, in their order."""
    with database.transaction() as connection:
        return read_extensions(connection, name)


def read_extensions(connection: Connection, name: str) -> tuple[Extension, ...]:
    """Return the comparison's extensions, in their order, inside the caller's transaction."""
    query = (
        select(extension)
        .where(extension.c.comparison == name)
        .order_by(extension.c.trials_before, extension.c.replicates_before)
    )
    return tuple(
        Extension(
            before=Spend(trials=row.trials_before, replicates=row.replicates_before),
            after=Spend(
                trials=row.trials_after,
                replicates=row.replicates_after,
                stopped=json.loads(row.stopped),
            ),
            openings=row.openings,
            extended_at=row.extended_at,
        )
        for row in connection.execute(query)
    )


def add_extension(
    database: Database,
    connection: Connection,
    name: str,
    *,
    before: Spend,
    after: Spend,
    openings: int,
) -> Extension:
    """Record a raise of the budget inside the caller's transaction, and return the record.

    Args:
        database: Whose clock is used.
        connection: With the transaction that adds the work.
        name: Of the comparison.
        before: The budget until now.
        after: The budget from now on.
        openings: Of the sealed test until now.
    """
    connection.execute(
        insert(extension).values(
            comparison=name,
            trials_before=before.trials,
            trials_after=after.trials,
            replicates_before=before.replicates,
            replicates_after=after.replicates,
            stopped=json.dumps(dict(after.stopped)),
            openings=openings,
            extended_at=database.now,
        )
    )
    return read_extensions(connection, name)[-1]


def spend_of(spec: StudySpec) -> Spend:
    """Return the part of the budget that can be added to."""
    return Spend(trials=spec.budget.trials, replicates=spec.budget.replicates, stopped=spec.stopped)


def extended(spec: StudySpec, extensions: Sequence[Extension]) -> StudySpec:
    """Return `spec` with the budget that its studies have now."""
    return with_spend(spec, extensions[-1].after) if extensions else spec


def as_begun(spec: StudySpec, extensions: Sequence[Extension]) -> StudySpec:
    """Return `spec` with its first budget if it names the one of now; another is left as it is.

    So a study file may stay as it was, or be brought up to date, and any other number is noticed.
    """
    now = extensions[-1].after if extensions else None
    if now and (spec.budget.trials, spec.budget.replicates) == (now.trials, now.replicates):
        return with_spend(spec, extensions[0].before)
    return spec


def with_spend(spec: StudySpec, spend: Spend) -> StudySpec:
    """Return `spec` with other numbers of trials and replicates."""
    raised = {"trials": spend.trials, "replicates": spend.replicates}
    changed = spec.model_copy(update={"budget": spec.budget.model_copy(update=raised)})
    return changed.with_stopped(spend.stopped)


def check_unchanged(
    spec: StudySpec, extensions: Sequence[Extension], stored: StoredComparison
) -> None:
    """Check that the study file says what the comparison began with.

    Reading needs it as much as running: a margin that changes after the results proves nothing.

    Args:
        spec: Of the study file as it is now.
        extensions: Of the comparison's budget.
        stored: What it began with.

    Raises:
        StudyMismatch: the file says something else.
    """
    current = as_begun(spec, extensions).scientific_content()
    changed = sorted(_differences(_as_read_today(stored.content), current, ""))
    if changed:
        raise StudyMismatch(
            f"study {spec.name!r} began with other settings, so its trials would not compare: "
            f"{'; '.join(changed[:4])}: restore them, or give the study a new name"
        )


def _as_read_today(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the content with the defaults of keys that are younger than it."""
    try:
        current = StudySpec.of_content(stored).scientific_content()
    except StudyFileError:
        return stored
    return {**current, "code": stored.get("code")}


def _differences(old: object, new: object, path: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            text
            for key in {*old, *new}
            for text in _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if old == new else [f"{path} was {old!r} and is now {new!r}"]
