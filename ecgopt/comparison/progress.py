"""How far a comparison is: counts by stage and study, read in two queries."""

from collections import Counter
from dataclasses import dataclass
from typing import get_args

import sqlalchemy
from sqlalchemy import func, select

from ecgopt.database.engine import Database
from ecgopt.database.tables import work_item
from ecgopt.queue import heartbeats
from ecgopt.queue.items import Kind
from ecgopt.queue.pausing import is_paused
from ecgopt.study_file.cells import expand_studies, study_name
from ecgopt.study_file.spec import StudySpec

_SILENT_LEASES = 2.0
"""A worker that gave no sign of life for so many leases does not count as being at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """Work items of one kind."""

    kind: str
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
    """Whether workers claim nothing until somebody resumes the comparison."""

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


def read_progress(database: Database, spec: StudySpec) -> Progress:
    """Return the comparison's progress."""
    stages, losses, seconds = _stages(database, spec.name)
    with database.transaction() as connection:
        paused = bool(connection.execute(select(is_paused(spec.name))).scalar_one())
    return Progress(
        stages=stages,
        studies=_studies(database, spec),
        total_losses=losses,
        n_workers=heartbeats.count_at_work(
            database, spec.name, within_seconds=_SILENT_LEASES * spec.workers.lease_seconds
        ),
        seconds_running=seconds,
        is_paused=paused,
    )


def _stages(database: Database, comparison: str) -> tuple[tuple[StageProgress, ...], int, float]:
    query = (
        select(
            work_item.c.kind,
            work_item.c.state,
            func.count().label("n"),
            func.sum(work_item.c.total_failures).label("losses"),
            func.min(work_item.c.claimed_at).label("begun"),
            func.avg(work_item.c.finished_at - work_item.c.claimed_at).label("mean_seconds"),
            database.now.label("now"),
        )
        .where(work_item.c.comparison == comparison)
        .group_by(work_item.c.kind, work_item.c.state)
    )
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    means = {row.kind: row.mean_seconds for row in rows if row.state == "done"}
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.kind, Counter())[row.state] = row.n
    begun = [row.begun for row in rows if row.begun is not None]
    stages = tuple(
        StageProgress(
            kind=kind,
            total=counts[kind].total(),
            done=counts[kind]["done"],
            running=counts[kind]["held"],
            set_aside=counts[kind]["set_aside"],
            mean_seconds=means.get(kind),
        )
        for kind in get_args(Kind)
        if kind in counts
    )
    seconds = float(rows[0].now - min(begun)) if begun else 0.0
    return stages, sum(int(row.losses) for row in rows), seconds


def _studies(database: Database, spec: StudySpec) -> tuple[StudyProgress, ...]:
    query = sqlalchemy.text(
        "SELECT s.study_name AS name, t.state AS state, COUNT(*) AS n, MAX(v.value) AS best "
        "FROM studies s JOIN trials t ON t.study_id = s.study_id "
        "LEFT JOIN trial_values v ON v.trial_id = t.trial_id "
        "WHERE s.study_name LIKE :prefix ESCAPE '!' GROUP BY s.study_name, t.state"
    )
    with database.transaction() as connection:
        # A bare underscore is a wildcard: size_ladder would also count a study sizeXladder.
        prefix = spec.name.replace("_", "!_")
        rows = connection.execute(query, {"prefix": f"{prefix}/%"}).all()
    found: dict[str, dict[str, tuple[int, float | None]]] = {}
    for row in rows:
        found.setdefault(row.name, {})[str(row.state)] = (row.n, row.best)

    def count(name: str, state: str) -> int:
        return found.get(name, {}).get(state, (0, None))[0]

    return tuple(
        StudyProgress(
            study=key.path,
            regime=key.regime,
            complete=count(name, "COMPLETE"),
            pruned=count(name, "PRUNED"),
            failed=count(name, "FAIL"),
            running=count(name, "RUNNING"),
            left=count(name, "WAITING"),
            best=found.get(name, {}).get("COMPLETE", (0, None))[1],
        )
        for key in expand_studies(spec)
        for name in [study_name(spec.name, key)]
    )
