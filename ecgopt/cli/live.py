"""Live progress of a run: rich tables in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ecgopt.workers.presence import WorkerSeen
from ecgopt.workers.progress import Progress, StudyProgress

_PLAIN_LINE_SECONDS = 10.0
_MAX_ROWS = 12
_STAGE_NAMES = {
    "pretrain_trial": "pre-training trials",
    "pretrain": "pre-training",
    "trial": "trials",
    "final": "final fits",
    "rate": "learning rates",
    "check": "checks",
    "audit": "audits",
    "enqueued": "enqueued",
}


class LiveProgress:
    """Shows a run's progress; use as a context."""

    def __init__(self, *, keep: bool = False) -> None:
        """Begin with nothing shown; `keep` leaves the last view on the screen."""
        self._console = Console()
        self._keep = keep
        self._live: Live | None = None
        self._last_line_at = -_PLAIN_LINE_SECONDS
        self._last_line = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=not self._keep)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def preparing(self, name: str, done: int, total: int) -> None:
        """Show how far the preparation of one data set is."""
        line = f"preparing {name}: {done:,} of {total:,} records"
        if self._live is not None:
            self._live.update(Text(line))
        elif done == total:
            self._print(line)

    def show(self, progress: Progress, workers: Sequence[WorkerSeen] = ()) -> None:
        """Show the comparison's progress; repeated plain lines are at least 10 s apart."""
        if self._live is not None:
            self._live.update(rendered(progress, workers))
            return
        now = time.monotonic()
        line = plain_line(progress)
        due = progress.is_finished or now - self._last_line_at >= _PLAIN_LINE_SECONDS
        if due and line != self._last_line:
            self._print(line)
            self._last_line, self._last_line_at = line, now

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def plain_line(progress: Progress) -> str:
    """Return the progress as one line."""
    stages = ", ".join(
        f"{_STAGE_NAMES[stage.kind]} {stage.done}/{stage.total}"
        + (f" ({stage.set_aside} set aside)" if stage.set_aside else "")
        for stage in progress.stages
    )
    pruned = sum(study.pruned for study in progress.studies)
    best = ", ".join(f"{name} {value:.3f}" for name, value in _best_per_regime(progress).items())
    parts = [stages, f"{pruned} pruned", f"best: {best}" if best else "", _time_left(progress)]
    return "; ".join(part for part in parts if part)


def _best_per_regime(progress: Progress) -> dict[str, float]:
    best: dict[str, float] = {}
    for study in progress.studies:
        if study.best is not None:
            best[study.regime] = max(study.best, best.get(study.regime, 0.0))
    return best


def _time_left(progress: Progress) -> str:
    if progress.is_finished:
        return "all done"
    if progress.is_paused:
        return "paused: nothing new begins until `ecgopt study resume`"
    if (seconds := progress.seconds_left) is None:
        return ""
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


def rendered(progress: Progress, workers: Sequence[WorkerSeen] = ()) -> RenderableType:
    """Return the progress as a table of studies, one summary line and a line per worker."""
    table = Table(box=None, pad_edge=False)
    for name in ("study", "complete", "pruned", "failed", "running", "left", "best"):
        is_name = name == "study"
        table.add_column(name, justify="left" if is_name else "right", overflow="fold")
    for study in progress.studies[:_MAX_ROWS]:
        table.add_row(*_row(study))
    hidden = len(progress.studies) - _MAX_ROWS
    note = [Text(f"... and {hidden} more studies")] if hidden > 0 else []
    summary = Text(plain_line(progress), overflow="fold")
    return Group(table, *note, summary, *(_worker_line(worker) for worker in workers))


def _worker_line(worker: WorkerSeen) -> Text:
    doing = f"{worker.item}, epoch {worker.epoch}" if worker.item else "waiting"
    return Text(
        f"worker {worker.owner} on {worker.device}: {doing}, "
        f"seen {worker.seen_seconds_ago:.0f} s ago, {worker.state}",
        overflow="fold",
    )


def _row(study: StudyProgress) -> tuple[str, ...]:
    counts = (study.complete, study.pruned, study.failed, study.running, study.left)
    best = f"{study.best:.3f}" if study.best is not None else "-"
    return (study.study, *map(str, counts), best)
