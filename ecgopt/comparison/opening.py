"""Opening a comparison: its data, its Optuna studies and its work items, once and for all."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from ecgopt.comparison.extensions import as_begun, extended, extensions_of
from ecgopt.comparison.provenance import provenance
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import create_studies
from ecgopt.database.optuna.trial_rows import add_slots
from ecgopt.database.tables import comparison, create_tables
from ecgopt.errors import StudyFileError, StudyMismatch
from ecgopt.jobs.datasets import PreparedData, Progress, prepare_data
from ecgopt.jobs.diagnostic_items import diagnostic_items, learning_rates, rate_group
from ecgopt.queue.items import NewItem, add_missing, lock_comparison
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey, expand_studies
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace

_TRIAL, _FINAL = 1000, 2_000_000
"""Priorities: pre-trainings first, then trials slot by slot over all studies, then final fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenComparison:
    """A comparison whose data, studies and work items exist."""

    spec: StudySpec
    database: Database
    workspace: Workspace
    data: PreparedData


def open_comparison(
    spec: StudySpec,
    database: Database,
    workspace: Workspace,
    *,
    n_processes: int = 1,
    on_progress: Progress | None = None,
) -> OpenComparison:
    """Prepare the data and create the missing studies and work items; safe to repeat and to race.

    Raises:
        StudyMismatch: the study file changed since the comparison began.
        DataError: the data cannot be used as asked.
    """
    create_tables(database)
    stored = stored_comparison(database, spec.name)
    extensions = extensions_of(database, spec.name)
    if stored is not None:
        _check_unchanged(as_begun(spec, extensions), stored["content"])
        spec = extended(spec, extensions)
    folders = prepare_data(spec, workspace, n_processes=n_processes, on_progress=on_progress)
    data = PreparedData(spec=spec, workspace=workspace, folders=folders)
    if stored is None:
        data.check()
        from ecgopt.jobs.own_weights import check_own_weights

        check_own_weights(spec)
        _store_once(database, spec, folders)
        stored = stored_comparison(database, spec.name)
        assert stored is not None
        _check_unchanged(spec, stored["content"])
    if stored["prepared"] != folders:
        raise StudyMismatch(
            f"study {spec.name!r} began on the prepared data {stored['prepared']}, but the data "
            f"now prepare to {folders}: restore the records, or give the study a new name"
        )
    add_work(database, spec)
    return OpenComparison(spec=spec, database=database, workspace=workspace, data=data)


def add_work(database: Database, spec: StudySpec) -> None:
    """Create the missing Optuna studies, slots and work items; safe to repeat and to race."""
    keys = list(expand_studies(spec))
    study_ids = create_studies(database, spec, keys)
    with database.transaction() as connection:
        lock_comparison(connection, spec.name)
        insert_work(connection, spec, keys, study_ids)


def insert_work(
    connection: Connection,
    spec: StudySpec,
    keys: Sequence[StudyKey],
    study_ids: Mapping[str, int],
) -> None:
    """Insert the missing work items and slots; the caller holds the comparison's lock."""
    added = add_missing(connection, spec.name, work_items(spec, keys))
    new_slots: dict[str, list[int]] = {}
    for item in added:
        if item.kind == "trial":
            path = item.group.removeprefix("trials/")
            new_slots.setdefault(path, []).append(item.payload["slot"])
    fixed = {key.path: spec.published_values(key.regime) for key in keys}
    for path, slots in new_slots.items():
        published = {0: fixed[path]} if 0 in slots else {}
        add_slots(connection, study_ids[path], sorted(slots), published)


def stored_comparison(database: Database, name: str) -> dict[str, Any] | None:
    """Return the comparison's stored content, prepared folders and provenance, or None."""
    with database.transaction() as connection:
        row = connection.execute(select(comparison).where(comparison.c.name == name)).first()
    if row is None:
        return None
    return {
        "content": json.loads(row.content),
        "prepared": json.loads(row.prepared),
        "provenance": json.loads(row.provenance),
        "created_at": row.created_at,
    }


def work_items(spec: StudySpec, keys: Sequence[StudyKey]) -> list[NewItem]:
    """Return every work item of the comparison."""
    from ecgopt.jobs.pretrain import pretraining_items

    items: dict[str, NewItem] = {}
    for key in keys:
        if key.upstream is not None:
            for item in pretraining_items(spec, key.upstream, key.model):
                items[item.key] = item
        for item in (*_trial_items(spec, key), *_final_items(spec, key)):
            items[item.key] = item
    return [*items.values(), *diagnostic_items(spec, keys)]


def _trial_items(spec: StudySpec, key: StudyKey) -> Iterable[NewItem]:
    needs = f"pretrain/{key.pretraining}" if key.pretraining else None
    for slot in range(spec.budget.trials):
        yield NewItem(
            kind="trial",
            key=f"trial/{key.path}/{slot:04d}",
            group=key.trial_group,
            needs=needs,
            priority=_TRIAL + slot,
            payload={"study": key.payload(), "slot": slot},
        )


def _final_items(spec: StudySpec, key: StudyKey) -> Iterable[NewItem]:
    groups = {"tuned": key.trial_group}
    if spec.published.final_fits:
        groups["published"] = key.trial_group
    if learning_rates(spec, key):
        groups["learning_rate"] = rate_group(key)
    for role, needs in groups.items():
        for index in range(spec.budget.final_seeds):
            yield NewItem(
                kind="final",
                key=f"final/{key.path}/{role}/{index:02d}",
                group=f"final/{key.path}",
                needs=needs,
                priority=_FINAL + index,
                payload={
                    "study": key.payload(),
                    "role": role,
                    "seed_index": index,
                    # Neither regime nor role: equal indices of two arms are paired.
                    "seed": seed_for(
                        spec.seed, "final", key.downstream, key.n_train, key.replicate, index
                    ),
                },
            )


def _store_once(database: Database, spec: StudySpec, folders: Mapping[str, str]) -> None:
    try:
        with database.transaction() as connection:
            connection.execute(
                insert(comparison).values(
                    name=spec.name,
                    content=json.dumps(spec.scientific_content()),
                    prepared=json.dumps(dict(folders)),
                    provenance=json.dumps(provenance()),
                    created_at=database.now,
                )
            )
    except IntegrityError:
        # Another process stored it first; the caller reads and checks what that one stored.
        return


def _check_unchanged(spec: StudySpec, stored: Mapping[str, Any]) -> None:
    current = spec.scientific_content()
    changed = sorted(_differences(_as_read_today(stored), current, ""))
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
