"""Live progress of a run: rich tables in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from ecgopt.cli.output import open_console, print_lines
from ecgopt.cli.views import Activity, plain_line, rendered
from ecgopt.comparison.progress import Progress

_PLAIN_LINE_SECONDS = 10.0


class LiveProgress:
    """Shows a run's progress; use as a context."""

    def __init__(self, *, keep: bool = False) -> None:
        """Show nothing yet; `keep` leaves the last view on the screen."""
        self._console = open_console()
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

    def preparing(self, doing: str, done: int, total: int) -> None:
        """Show the progress of writing or preparing one data set."""
        line = f"{doing}: {done:,} of {total:,} records"
        if self._live is not None:
            self._live.update(Text(line))
        elif done == total:
            print_lines(line)

    def show(
        self,
        progress: Progress,
        activity: Activity | None = None,
        *,
        regime: str | None = None,
        show_all: bool = False,
    ) -> None:
        """Show the comparison's progress; repeated plain lines are at least 10 s apart."""
        if self._live is not None:
            self._live.update(rendered(progress, activity, regime=regime, show_all=show_all))
            return
        now = time.monotonic()
        line = plain_line(progress)
        due = progress.is_finished or now - self._last_line_at >= _PLAIN_LINE_SECONDS
        if due and line != self._last_line:
            print_lines(line)
            self._last_line, self._last_line_at = line, now

    def line(self, text: str) -> None:
        """Print text that stays, above the progress."""
        if self._live is not None:
            self._live.console.print(text.rstrip(), soft_wrap=True)
        else:
            print_lines(text.rstrip())
