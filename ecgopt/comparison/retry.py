"""Takes up work items that were set aside, with their Optuna trials."""

from collections.abc import Sequence

from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import create_studies
from ecgopt.database.optuna.trial_rows import reopen_trial
from ecgopt.errors import UserError, did_you_mean
from ecgopt.jobs.job import read
from ecgopt.jobs.trial import TrialJob, TrialPayload
from ecgopt.queue.locking import lock_comparison
from ecgopt.queue.pausing import resume
from ecgopt.queue.results import ended_items, note_retries, reopen
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.spec import StudySpec


def retry_items(
    database: Database, spec: StudySpec, wanted: Sequence[str] | None = None
) -> list[str]:
    """Free the items that were set aside, and resume a paused comparison; return the items' keys.

    A trial continues under its own number, with its parameters, from its last checkpoint. Each item
    is recorded with the cause for which it had been set aside.

    Args:
        database: Of the comparison.
        spec: The comparison.
        wanted: Keys of the items; None for all that were set aside.

    Raises:
        UserError: an item of this key was not set aside.
    """
    aside = {item.key: item for item in ended_items(database, spec.name) if item.is_set_aside}
    for key in wanted or ():
        if key not in aside:
            hint = did_you_mean(key, aside) if aside else "no item is set aside"
            raise UserError(f"{key!r} is not an item that was set aside: {hint}")
    chosen = [item for key, item in aside.items() if wanted is None or key in wanted]
    study_ids = create_studies(database, spec, expand_studies(spec))
    with database.transaction() as connection:
        lock_comparison(connection, spec.name)
        note_retries(database, connection, spec.name, chosen)
        reopen(connection, spec.name, [item.key for item in chosen])
        for item in chosen:
            if item.kind == TrialJob.kind:
                payload = read(TrialPayload, item.payload)
                reopen_trial(connection, study_ids[payload.study.path], payload.slot)
    resume(database, spec.name)
    return [item.key for item in chosen]
