"""Opening a comparison: its data, its Optuna studies and its work items, once and for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecgopt.database.comparisons import (
    add_workspace,
    check_unchanged,
    extended,
    extensions_of,
    store_comparison,
    stored_comparison,
    workspaces_of,
)
from ecgopt.database.engine import Database, Transaction
from ecgopt.database.optuna.studies import create_studies
from ecgopt.database.tables import create_tables
from ecgopt.errors import StudyMismatch
from ecgopt.jobs.datasets import PreparedData, Progress, prepare_data
from ecgopt.jobs.pretrain import check_own_weights, check_pretrained
from ecgopt.jobs.provenance import provenance
from ecgopt.jobs.registry import work_items
from ecgopt.jobs.trial import TrialJob
from ecgopt.queue.items import add_missing
from ecgopt.queue.locking import lock_comparison
from ecgopt.study_file.cells import StudyKey, expand_studies
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenComparison:
    """A comparison whose data, studies and work items exist."""

    spec: StudySpec
    database: Database
    workspace: Workspace
    data: PreparedData
    folder: str
    """Of its files in the workspace."""


def open_comparison(
    spec: StudySpec,
    database: Database,
    workspace: Workspace,
    *,
    n_processes: int = 1,
    on_progress: Progress | None = None,
    join_workspace: bool = False,
) -> OpenComparison:
    """Prepare the data and create the missing studies and work items; safe to repeat and to race.

    Args:
        spec: The comparison, as the study file says.
        database: Where it is, or will be.
        workspace: Folder of its files.
        n_processes: That prepare data.
        on_progress: Called while data are prepared.
        join_workspace: Whether a true copy of the comparison's workspace may be used.

    Raises:
        StudyMismatch: the study file changed since the comparison began, or its workers use
            another workspace.
        DataError: the data cannot be used as asked.
    """
    create_tables(database)
    stored = stored_comparison(database, spec.name)
    if stored is not None:
        check_workspace(database, spec.name, workspace, join=join_workspace)
    extensions = extensions_of(database, spec.name)
    if stored is not None:
        check_unchanged(spec, extensions, stored)
        spec = extended(spec, extensions)
    folders = prepare_data(spec, workspace, n_processes=n_processes, on_progress=on_progress)
    data = PreparedData(spec=spec, workspace=workspace, folders=folders)
    if stored is None:
        data.check()
        check_own_weights(spec)
        stored = store_comparison(
            database,
            spec.name,
            content=spec.scientific_content(),
            prepared=folders,
            provenance=provenance(),
        )
        check_unchanged(spec, (), stored)
        check_workspace(database, spec.name, workspace)
    if stored.prepared != folders:
        raise StudyMismatch(
            f"study {spec.name!r} began on the prepared data {stored.prepared}, but the data "
            f"now prepare to {folders}: restore the records, or give the study a new name"
        )
    add_work(database, spec)
    return OpenComparison(
        spec=spec, database=database, workspace=workspace, data=data, folder=stored.folder
    )


def check_workspace(
    database: Database, name: str, workspace: Workspace, *, join: bool = False
) -> None:
    """Check that the comparison's workers use this workspace; the first one is noted.

    Args:
        database: Of the comparison.
        name: Its name.
        workspace: Of this process.
        join: Whether to note a true copy: one whose pre-trained weights are those of the records.

    Raises:
        StudyMismatch: the workers use another workspace.
        CheckpointError: the weights of the copy differ.
    """
    identity, path = workspace.identity(), str(workspace.root.resolve())
    with database.transaction() as connection:
        lock_comparison(connection, name)
        known = workspaces_of(connection, name)
        if not known:
            add_workspace(database, connection, name, identity=identity, path=path)
    if not known or identity in known:
        return
    if not join:
        raise StudyMismatch(
            f"the workers of study {name!r} use the workspace {', '.join(known.values())}, but "
            f"{path} is another: give all workers the same shared folder with --workspace, or "
            "--join-workspace for a true copy of it"
        )
    stored = stored_comparison(database, name)
    assert stored is not None, "its workspace is known"
    check_pretrained(database, name, workspace, stored.folder)
    with database.transaction() as connection:
        lock_comparison(connection, name)
        if identity not in workspaces_of(connection, name):
            add_workspace(database, connection, name, identity=identity, path=path)


def add_work(database: Database, spec: StudySpec) -> None:
    """Create the missing Optuna studies, slots and work items; safe to repeat and to race."""
    keys = list(expand_studies(spec))
    study_ids = create_studies(database, spec, keys)
    with database.transaction() as connection:
        lock_comparison(connection, spec.name)
        insert_work(connection, spec, keys, study_ids)


def insert_work(
    connection: Transaction,
    spec: StudySpec,
    keys: Sequence[StudyKey],
    study_ids: Mapping[str, int],
) -> None:
    """Insert the missing work items and slots; the caller holds the comparison's lock.

    Args:
        connection: With the transaction that holds the lock.
        spec: The comparison.
        keys: Its studies.
        study_ids: Ids of the Optuna studies by path.
    """
    added = add_missing(connection, spec.name, work_items(spec, keys))
    TrialJob.add_slots(connection, spec, added, study_ids)
