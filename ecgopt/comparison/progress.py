"""Progress of a comparison: counts by stage and study."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import trial_counts_by_name
from ecgopt.jobs.job import Job
from ecgopt.jobs.registry import JOBS
from ecgopt.jobs.trial import trial_group
from ecgopt.queue import heartbeats
from ecgopt.queue.inspect import StateCount, count_states, first_failure, paused_items
from ecgopt.queue.items import open_items
from ecgopt.queue.pausing import pause_of
from ecgopt.study_file.cells import expand_studies, study_name
from ecgopt.study_file.spec import StudySpec

_SILENT_LEASES = 2.0
"""A worker that gave no sign of life for so many leases does not count as being at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """Work items of one kind."""

    kind: str
    title: str
    """Its name for people, in the plural."""
    total: int
    done: int
    running: int
    set_aside: int
    mean_seconds: float | None
    """From the last claim to the end of an item that is done; None before the first."""

    @property
    def left(self) -> int:
        """Items that need more work."""
        return self.total - self.done - self.set_aside


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """Trials of one study."""

    study: str
    regime: str
    complete: int
    pruned: int
    failed: int
    running: int
    paused: int
    """At a rung, where they wait for their bracket and for a worker; not among the running."""
    left: int
    best: float | None
    """Best validation macro AUROC of a complete trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The whole comparison at one moment."""

    stages: tuple[StageProgress, ...]
    studies: tuple[StudyProgress, ...]
    total_losses: int
    n_workers: int
    """Workers at work, those between two items among them."""
    seconds_running: float
    """Since the first claim, on the database's clock."""
    is_paused: bool = False
    """Whether workers claim nothing until a user resumes the comparison."""
    pause_reason: str = ""
    """Why the comparison paused itself; empty where a user paused it."""
    n_blocked: int = 0
    """Items that cannot begin, because what they need has failed."""
    blocked_by: tuple[str, ...] = ()
    """The groups of items that failed and block others."""
    first_failure: str = ""
    """The first item of these groups that failed, and why."""

    @property
    def n_done(self) -> int:
        """Items that need no more work."""
        return sum(stage.done + stage.set_aside for stage in self.stages)

    @property
    def n_total(self) -> int:
        """All items."""
        return sum(stage.total for stage in self.stages)

    @property
    def seconds_left(self) -> float | None:
        """At the pace of the items done so far, with as many workers as are at work.

        None while nothing is done or nobody works. A kind of which none is done counts as the
        kinds that are: pauses and nights without workers do not enter.
        """
        known = [(s.mean_seconds, s.done) for s in self.stages if s.mean_seconds is not None]
        if not known or not self.n_workers:
            return None
        usual = sum(mean * done for mean, done in known) / sum(done for _, done in known)
        return sum(s.left * (s.mean_seconds or usual) for s in self.stages) / self.n_workers

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.n_done == self.n_total

    @property
    def n_set_aside(self) -> int:
        """Items that were given up."""
        return sum(stage.set_aside for stage in self.stages)

    @property
    def trouble(self) -> str:
        """Why the work cannot be finished as things are, and the remedy; empty where it can."""
        if self.pause_reason:
            return (
                f"the study paused itself after {self.pause_reason}: fix the cause, then `ecgopt "
                "study resume`"
            )
        if self.n_blocked and self.n_blocked == self.n_total - self.n_done:
            return (
                f"{self.n_blocked} items are blocked, because all of {', '.join(self.blocked_by)} "
                f"failed; the first was {self.first_failure}: fix the cause, then `ecgopt study "
                "retry`"
            )
        return ""


def read_progress(database: Database, spec: StudySpec) -> Progress:
    """Return the comparison's progress."""
    counts = count_states(database, spec.name)
    pause, left = pause_of(database, spec.name), open_items(database, spec.name)
    blocked_by = tuple(sorted(set(left.blocked.values())))
    first = first_failure(database, spec.name, blocked_by) if blocked_by else None
    waited = [c.seconds_since_first_claim for c in counts]
    return Progress(
        stages=_stages(counts),
        studies=_studies(database, spec),
        total_losses=sum(count.failures for count in counts),
        n_workers=heartbeats.count_at_work(
            database, spec.name, within_seconds=_SILENT_LEASES * spec.workers.lease_seconds
        ),
        seconds_running=max((seconds for seconds in waited if seconds is not None), default=0.0),
        is_paused=pause is not None,
        pause_reason=pause.reason if pause is not None else "",
        n_blocked=left.n_blocked,
        blocked_by=blocked_by,
        first_failure=f"{first.item} ({first.reason})" if first is not None else "",
    )


def _stages(counts: Sequence[StateCount]) -> tuple[StageProgress, ...]:
    by_kind: dict[str, dict[str, StateCount]] = {}
    for count in counts:
        by_kind.setdefault(count.kind, {})[count.state] = count

    def stage(job: type[Job], states: Mapping[str, StateCount]) -> StageProgress:
        numbers = Counter({state: count.n for state, count in states.items()})
        return StageProgress(
            kind=job.kind,
            title=job.title,
            total=numbers.total(),
            done=numbers["done"],
            running=numbers["held"],
            set_aside=numbers["set_aside"],
            mean_seconds=states["done"].mean_seconds if "done" in states else None,
        )

    return tuple(stage(job, by_kind[kind]) for kind, job in JOBS.items() if kind in by_kind)


def _studies(database: Database, spec: StudySpec) -> tuple[StudyProgress, ...]:
    with database.transaction() as connection:
        found = trial_counts_by_name(connection, spec.name)
        paused = Counter(item.group for item in paused_items(connection, spec.name))

    def count(name: str, state: str) -> int:
        return found.get(name, {}).get(state, (0, None))[0]

    return tuple(
        StudyProgress(
            study=key.path,
            regime=key.regime,
            complete=count(name, "COMPLETE"),
            pruned=count(name, "PRUNED"),
            failed=count(name, "FAIL"),
            running=max(count(name, "RUNNING") - paused[trial_group(key)], 0),
            paused=paused[trial_group(key)],
            left=count(name, "WAITING"),
            best=found.get(name, {}).get("COMPLETE", (0, None))[1],
        )
        for key in expand_studies(spec)
        for name in [study_name(spec.name, key)]
    )
