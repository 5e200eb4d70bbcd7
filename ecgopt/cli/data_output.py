"""What `ecgopt data` prints: tables, progress, and plain lines where there is no terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgopt.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ecgopt.data.check import DataCheck
    from ecgopt.data.download import FetchProgress
    from ecgopt.data.sources.catalog import DatasetInfo

_LINE_EVERY_S = 60.0


def described(info: "DatasetInfo") -> dict[str, Any]:
    """Return what is published about a data set and what of it is here."""
    return {
        "name": info.name,
        "title": info.title,
        "records": info.records,
        "patients": info.patients,
        "rates_hz": list(info.rates_hz),
        "leads": 12,
        "seconds": info.seconds,
        "size_gb": info.size_gb,
        "label_sets": list(info.labels),
        "licence": info.licence,
        "citation": info.citation,
        "doi": info.doi,
        "home": info.home,
        "fetchable": info.download is not None,
        "present": _is_present(info.name),
        "prepared": _is_prepared(info.name),
    }


def _is_present(name: str) -> bool:
    folder = raw_folder(name)
    return folder.is_dir() and any(path.name != ".parts" for path in folder.iterdir())


def _is_prepared(name: str) -> bool:
    from ecgopt.data.prepared import prepared_folders

    return bool(prepared_folders(prepared_folder(), name))


def cell(value: object) -> str:
    """Return a value of `described` as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "-" if value is None or value == "" else str(value)


def raw_folder(name: str) -> Path:
    """Return where `fetch` puts the data set `name` by default."""
    from ecgopt.workspace import chosen_workspace

    return chosen_workspace(None).raw_data / name


def prepared_folder() -> Path:
    """Return the folder of prepared sets in the workspace."""
    from ecgopt.workspace import chosen_workspace

    return chosen_workspace(None).prepared_data


def raw_folders(name: str, given: list[Path] | None) -> Sequence[Path]:
    """Return the folders to read from: those given, else the default one."""
    if given:
        return given
    # A description of own data names its folder itself.
    return [] if name.endswith(".toml") else [raw_folder(name)]


def open_console() -> "Console":
    """Return a console that wraps lines for a person and never for a file or a pipe.

    Control characters are printed as escapes.
    """
    from ecgopt.cli.output import open_console as opened

    return opened()


def new_table(*columns: str, title: str | None = None, header: bool = True) -> "Table":
    """Return an empty table: ruled in a terminal, aligned text elsewhere."""
    from rich import box
    from rich.table import Table as RichTable

    class Table(RichTable):
        def add_row(self, *cells: Any, **options: Any) -> None:  # noqa: ANN401 as the base class
            super().add_row(*(printable(str(each)) for each in cells), **options)

    plain = not open_console().is_terminal
    table = Table(
        title=title,
        title_justify="left",
        show_header=header,
        box=None if plain else box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in columns:
        numeric = column in {"records", "patients", "share", "count", "size gb"}
        table.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=column in {"name", "label sets", "class"},
        )
    return table


_WHY = {
    "cut": "longer than asked for: one part stays",
    "padded": "shorter than asked for: zeros appended",
    "padded_at_source": "at least 0.1 s of zeros at an end, as published",
    "repaired": "missing samples, filled from their neighbours",
    "corrected": "with a known error of the publisher, set right",
    "clipped": "samples beyond 32.767 mV, set to it",
    "derived": "III, aVR, aVL or aVF missing, computed from I and II",
    "with_flat_lead": "a lead that never changes: kept as published",
    "without_statement": "no finding is stated: unknown, unless a study keeps it as negative",
    "copies": "signal equal to that of an earlier record",
    "broken": "of the dropped: damaged or missing files",
}


def counts_table(manifest: Mapping[str, Any]) -> "Table":
    """Return what became of the records found: kept, cut, padded, dropped, and why."""
    table = new_table("outcome", "count", "reason")
    for outcome, count in manifest["counts"].items():
        if count or outcome in {"found", "kept", "cut", "padded", "dropped"}:
            why = _WHY.get(outcome, "") if count else ""
            if outcome == "found" and (published := manifest["published_records"]):
                why = f"of {published:,} published"
            table.add_row(outcome.replace("_", " "), f"{count:,}", why)
    for name, count in manifest["corrections"].items():
        table.add_row("  corrected", f"{count:,}", name)
    for reason, count in manifest["dropped_reasons"].items():
        table.add_row("  dropped", f"{count:,}", reason)
    for reason, aside in manifest["left_aside"].items():
        names = ", ".join(aside["names"][:5]) + (", ..." if aside["count"] > 5 else "")
        table.add_row("left aside", f"{aside['count']:,}", f"{reason}: {names}")
    return table


def print_check(
    console: "Console", found: "DataCheck", manifest: Mapping[str, Any], *, labels: str
) -> None:
    """Print the counts of a checked set, and what is doubtful."""
    total = found.counts["kept"]
    console.print(counts_table(manifest))
    classes = new_table("class", "records", "share", "patients", title=f"label set {labels}")
    for label, count in found.positives.items():
        patients = str(found.positive_patients[label])
        classes.add_row(label, str(count), f"{count / total:.1%}", patients)
    classes.add_row("(none of them)", str(found.unlabelled), f"{found.unlabelled / total:.1%}", "")
    console.print(classes)
    if found.records_per_fold:
        folds = new_table("fold", "records", "patients")
        for fold, count in found.records_per_fold.items():
            folds.add_row(str(fold), str(count), str(found.patients_per_fold[fold]))
        console.print(folds)
    ages = "no ages"
    if found.ages_years is not None:
        low, median, high = found.ages_years
        ages = f"ages {low:g} to {high:g}, median {median:g} years"
    rates = ", ".join(f"{rate:g} Hz" for rate in found.sampling_rates_hz)
    console.print(f"{found.patients} patients, {ages}; files at {rates}")
    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    for doubt in found.doubts:
        more = f" and {len(doubt.records) - 10} more" if len(doubt.records) > 10 else ""
        names = f": {', '.join(doubt.records[:10])}{more}" if doubt.records else ""
        console.print(f"{doubt.level}: {doubt.text}{names}", style=styles[doubt.level])


class LineAMinute:
    """Writes the progress to standard error once a minute, for the log of a batch job."""

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._clock = printable(title), clock
        self._next = clock() + _LINE_EVERY_S

    def __call__(self, done: int, total: int) -> None:
        """Write a line if the last one is a minute ago."""
        if self._clock() >= self._next:
            self._next = self._clock() + _LINE_EVERY_S
            sys.stderr.write(f"{self._title}: {done:,} of {total:,}\n")
            sys.stderr.flush()


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a progress callback, which writes a line a minute where there is no terminal."""
    console = open_console()
    if not console.is_terminal:
        yield LineAMinute(title)
        return
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:3], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def fetch_bar(name: str) -> "Iterator[Callable[[FetchProgress], None] | None]":
    """Give a callback for `fetch`; None where there is no terminal."""
    console = open_console()
    if not console.is_terminal:
        yield None
        return
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
    received = TextColumn("{task.fields[megabytes]:.1f} MB")
    with Progress(*columns, received, console=console, transient=True) as progress:
        task = progress.add_task(f"fetching {name}", total=None, megabytes=0.0)
        yield lambda state: progress.update(
            task,
            completed=state.files_done,
            total=state.files_total,
            megabytes=state.bytes_received / 1e6,
        )
