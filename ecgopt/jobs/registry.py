"""All kinds of work. A new kind is one file and one entry here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ecgopt.database.engine import Database
from ecgopt.jobs.audit import AuditJob
from ecgopt.jobs.check import CheckJob
from ecgopt.jobs.enqueued import EnqueuedJob
from ecgopt.jobs.final import FinalJob
from ecgopt.jobs.job import Job
from ecgopt.jobs.pretrain import PretrainJob
from ecgopt.jobs.pretrain_trial import PretrainTrialJob
from ecgopt.jobs.rate import RateJob
from ecgopt.jobs.trial import TrialJob
from ecgopt.queue.items import NewItem
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec

if TYPE_CHECKING:
    from ecgopt.jobs.runs import ArmRuns

DIAGNOSTICS: Final[tuple[type[Job], ...]] = (RateJob, CheckJob, AuditJob)
"""Beside the budget, as the study file asks."""

_ALL: Final[tuple[type[Job], ...]] = (
    PretrainTrialJob,
    PretrainJob,
    TrialJob,
    FinalJob,
    *DIAGNOSTICS,
    EnqueuedJob,
)

JOBS: Final[Mapping[str, type[Job]]] = {job.kind: job for job in _ALL}
"""Every kind of work by its name, in the order in which progress is shown."""


def work_items(
    spec: StudySpec, keys: Sequence[StudyKey], jobs: Sequence[type[Job]] = _ALL
) -> list[NewItem]:
    """Return every work item that the study file asks for.

    Args:
        spec: The comparison.
        keys: Its studies.
        jobs: Only items of these kinds.
    """
    return [item for job in jobs for item in job.items(spec, keys)]


def handlers(database: Database, arms: "ArmRuns") -> dict[str, Job]:
    """Return what does each kind of work, by its name."""
    return {kind: job(database, arms) for kind, job in JOBS.items()}
