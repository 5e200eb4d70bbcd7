"""A study's progress as one line, or as tables for a terminal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path, PurePosixPath

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecgopt.comparison.progress import Progress
from ecgopt.queue.heartbeats import WorkerSeen
from ecgopt.queue.inspect import QueueSeen

_MAX_ROWS = 12
_MAX_FAILURES = 5
_PRETRAINING = ("pretrain", "pretrain_trial")


@dataclass(frozen=True, slots=True)
class Activity:
    """The running workers and their leases."""

    workers: Sequence[WorkerSeen]
    queue: QueueSeen


def plain_line(progress: Progress) -> str:
    """Return the progress as one line: the stages by number, then what is found so far."""
    stages = ", ".join(
        f"{number}. {stage.title} {stage.done}/{stage.total}"
        + (f" ({stage.set_aside} set aside)" if stage.set_aside else "")
        for number, stage in enumerate(progress.stages, 1)
    )
    pruned = sum(study.pruned for study in progress.studies)
    best = ", ".join(f"{name} {value:.3f}" for name, value in _best_per_regime(progress).items())
    paused = sum(study.paused for study in progress.studies)
    found = [
        f"{pruned} pruned" if pruned else "",
        f"{paused} paused at a rung" if paused else "",
        f"best: {best}" if best else "",
    ]
    parts = [stages, *found, _waiting(progress), _time_left(progress)]
    return "; ".join(part for part in parts if part)


def _waiting(progress: Progress) -> str:
    """Return what waits for a pre-training, and for how many of them; empty where nothing does."""
    left = sum(stage.left for stage in progress.stages if stage.kind in _PRETRAINING)
    if not left or progress.is_finished:
        return ""
    return f"trials that start from pre-trained weights wait for {left} pre-training" + "s" * (
        left > 1
    )


def _best_per_regime(progress: Progress) -> dict[str, float]:
    best: dict[str, float] = {}
    for study in progress.studies:
        if study.best is not None:
            best[study.regime] = max(study.best, best.get(study.regime, 0.0))
    return best


def _time_left(progress: Progress) -> str:
    if progress.is_finished:
        return "all done"
    if progress.trouble:
        return progress.trouble
    if progress.is_paused:
        return "paused: nothing new begins until `ecgopt study resume`"
    if (seconds := progress.seconds_left) is None:
        return "time left is known once an item is done" if progress.n_workers else ""
    return f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a length of time in the one unit that fits."""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def next_step(progress: Progress, study: Path) -> str:
    """Return whether any worker runs, and the command that continues the study."""
    if progress.is_finished and progress.n_set_aside:
        plural = "s" * (progress.n_set_aside != 1)
        return (
            f"finished, but {progress.n_set_aside} item{plural} failed; fix the cause, then: "
            f"ecgopt study retry {study}"
        )
    if progress.is_finished:
        return f"finished; next: ecgopt report {study}"
    if progress.is_paused:
        return f"paused; to start trials again: ecgopt study resume {study}"
    if count := progress.n_workers:
        return f"{count} worker{'s are' if count > 1 else ' is'} running"
    return f"no worker is running; to continue: ecgopt run {study}"


def rendered(
    progress: Progress,
    activity: Activity | None = None,
    *,
    regime: str | None = None,
    show_all: bool = False,
) -> RenderableType:
    """Return a table of studies and a summary; with `activity` also workers and failures.

    Args:
        progress: Of the comparison.
        activity: Its workers and their leases.
        regime: Only this regime's studies.
        show_all: Show every study; by default the first ones, those that are running before others.
    """
    every = [study for study in progress.studies if regime in (None, study.regime)]
    if not show_all:
        every.sort(key=lambda study: (study.running == 0, study.left == 0))
    shown = every if show_all else every[:_MAX_ROWS]
    names = [study.study for study in shown]
    shared, short = shared_folder(names), short_names(names)
    has_failed = any(study.failed for study in shown)
    has_paused = any(study.paused for study in shown)
    failed, paused = ("failed",) * has_failed, ("paused",) * has_paused
    table = _table("study", "done", "pruned", *failed, "running", *paused, "left", "best")
    for study, name in zip(shown, short, strict=True):
        counts = [
            study.complete, study.pruned, *[study.failed] * has_failed, study.running,
            *[study.paused] * has_paused, study.left,
        ]  # fmt: skip
        best = f"{study.best:.3f}" if study.best is not None else "-"
        table.add_row(name, *map(str, counts), best)
    hidden = len(every) - len(shown)
    return Group(
        *([Text(f"studies in {shared}/", overflow="fold")] if shared else []),
        table,
        *([Text(f"... and {hidden} more studies: --all shows them")] if hidden > 0 else []),
        Text(plain_line(progress), overflow="fold"),
        *_activity_tables(activity, shared),
    )


def short_names(studies: Sequence[str]) -> list[str]:
    """Return the studies' names without what all share, and without an only source."""
    shared = shared_folder(studies)
    short = [study.removeprefix(f"{shared}/") for study in studies]
    sources = {part for name in short for part in name.split("/") if part.startswith("from-")}
    if len(sources) != 1:
        return short
    (source,) = sources
    return [name.removesuffix(f"/{source}") for name in short]


def shared_folder(names: Sequence[str]) -> str:
    """Return the leading parts that all names share."""
    return commonpath([PurePosixPath(name).parent for name in names]) if names else ""


def _table(*names: str, n_texts: int = 1) -> Table:
    """Return an empty table whose first columns are texts and whose others are numbers."""
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        is_text = number < n_texts
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    return table


def _activity_tables(activity: Activity | None, shared: str) -> Iterator[RenderableType]:
    if activity is None:
        return
    queue = activity.queue
    for rows, view in (
        (activity.workers, _workers),
        (queue.leases, _leases),
        (queue.paused, _paused),
        (queue.failures, _failures),
        (queue.set_aside, _set_aside),
    ):
        if rows:
            yield Text()
            yield view(activity, lambda item: _shortened(item, shared))
            if view is _workers:
                yield from _why_stopped(activity)


def _shortened(item: str, shared: str) -> str:
    """Return the item's name without the parts in the heading of the table of studies."""
    return item.replace(f"/{shared}/", "/…/") if shared else item


def _workers(activity: Activity, short: Callable[[str], str]) -> Table:
    table = _table("worker", "device", "doing", "epoch", "seen", n_texts=3)
    for worker in activity.workers:
        table.add_row(
            worker.owner if worker.state == "running" else f"{worker.owner} ({worker.state})",
            worker.device,
            short(worker.item) if worker.item else "waiting",
            str(worker.epoch) if worker.item else "-",
            f"{worker.seen_seconds_ago:.0f} s ago",
        )
    return table


def _why_stopped(activity: Activity) -> Iterator[Text]:
    for worker in activity.workers:
        if worker.reason:
            yield Text(f"{worker.owner} stopped: {worker.reason}")


def _leases(activity: Activity, short: Callable[[str], str]) -> Table:
    table = _table("lease on", "held by", "for", "ends in", "failures", n_texts=2)
    for lease in activity.queue.leases:
        table.add_row(
            short(lease.item),
            lease.owner,
            f"{lease.seconds_held:.0f} s",
            f"{lease.seconds_left:.0f} s" if lease.seconds_left > 0 else "ended",
            str(lease.failures),
        )
    return table


def _paused(activity: Activity, short: Callable[[str], str]) -> Table:
    table = _table("paused", "at rung", "waits for")
    paused = activity.queue.paused
    for item in paused[:_MAX_ROWS]:
        others = f"{item.n_behind} of its bracket" if item.n_behind else "a free worker"
        table.add_row(short(item.item), str(item.rung), others)
    if (hidden := len(paused) - _MAX_ROWS) > 0:
        table.add_row(f"... and {hidden} more", "", "")
    return table


def _failures(activity: Activity, short: Callable[[str], str]) -> Table:
    table = _table("failure of", "cause", "seen", n_texts=2)
    failures = activity.queue.failures
    for failure in failures[:_MAX_FAILURES]:
        table.add_row(
            short(failure.item), _last_line(failure.cause), f"{failure.seconds_ago:.0f} s ago"
        )
    if (hidden := len(failures) - _MAX_FAILURES) > 0:
        table.add_row(f"... and {hidden} earlier", "", "")
    return table


def _set_aside(activity: Activity, short: Callable[[str], str]) -> Table:
    table = _table("set aside", "cause", "why", n_texts=3)
    for item in activity.queue.set_aside:
        table.add_row(short(item.item), item.cause, _last_line(item.detail))
    return table


def _last_line(text: str) -> str:
    """Return the last line of a traceback, which names the error."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
