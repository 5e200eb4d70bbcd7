"""`ecgopt trials`: every trial of a study file, for people and for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from ecgopt.cli.options import DEFAULT_PLACE, FLAT, ExistingFile, PlaceOptions, check_regime

if TYPE_CHECKING:
    from ecgopt.report.tables import Table

_HIDDEN = ("regime", "model", "replicate", "samples")
"""Columns that the aligned table leaves out: they are in the study's name, or rarely read."""

_LEFT_OUT = ("seconds", "cause", "trained_epochs", "recipe", "state")
"""Columns that are left out, in this order, until the table fits the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of the output; an aligned table unless one is asked for."""

    csv: bool = False
    """Write CSV with a heading line."""
    parquet: bool = False
    """Write Parquet."""
    json: bool = False
    """Write a JSON array of objects."""

    def chosen(self) -> str | None:
        """Return the name of the form that is asked for, None for the aligned table.

        Raises:
            UserError: more than one is asked for.
        """
        from ecgopt.errors import UserError

        asked = [name for name in ("csv", "parquet", "json") if getattr(self, name)]
        if len(asked) > 1:
            raise UserError(f"only one form can be written, not --{' and --'.join(asked)}")
        return asked[0] if asked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which trials are listed, and in which order."""

    regime: str | None = None
    """Only this regime's trials."""
    sort: str = ""
    """Sort by this column: numbers from the greatest, words by the alphabet."""
    top: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    """Only the first so many, by validation score unless --sort names another column."""


_TABLE, _EVERY = Form(), Choice()


def trials(
    study: ExistingFile,
    *,
    choice: Annotated[Choice, FLAT] = _EVERY,
    form: Annotated[Form, FLAT] = _TABLE,
    out: Path | None = None,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """List the trials of a study as a table, CSV, Parquet or JSON.

    Each trial has its parameters, score, epochs, seconds and the cause of its end.

    Example: `ecgopt trials studies/demo.toml --regime fine_tune --csv --out trials.csv`

    Args:
        study: Study file.
        choice: Which trials, in which order.
        form: One of --csv, --parquet and --json.
        out: File to write to; by default the standard output.
        place: Where the database and the files are.
    """
    chosen = form.chosen()
    begun = place.open_begun(study)
    begun.check_unchanged()
    check_regime(choice.regime, begun.spec.regimes)
    regimes = begun.spec.regimes if choice.regime is None else (choice.regime,)

    from ecgopt.comparison.evidence import load_studies
    from ecgopt.report.tables import trials_table

    table = trials_table(load_studies(begun.database, begun.spec, regimes))
    if choice.sort or choice.top is not None:
        table = _first(table, choice.sort or "validation", choice.top)
    if chosen is None and out is None:
        _show(table)
    else:
        _write(_encoded(table, chosen or "csv"), out)


def _show(table: "Table") -> None:
    import shutil
    import sys

    from ecgopt.cli.output import print_lines
    from ecgopt.cli.views import shared_folder, short_names

    if not sys.stdout.isatty():
        print_lines(*_lines(table, _HIDDEN))
        return
    names = [str(row[0]) for row in table.rows]
    if shared := shared_folder(names):
        print_lines(f"studies in {shared}/")
    table = replace(
        table,
        rows=tuple(
            (name, *row[1:]) for name, row in zip(short_names(names), table.rows, strict=True)
        ),
    )
    width = shutil.get_terminal_size().columns
    hidden = [*_HIDDEN]
    for name in ("", *_LEFT_OUT):
        hidden += [name] if name in table.columns else []
        lines = _lines(table, hidden)
        if max(map(len, lines)) <= width:
            break
    print_lines(*lines)
    if left_out := hidden[len(_HIDDEN) :]:
        print_lines(f"left out to fit: {', '.join(left_out)}; --csv has every column")


def _lines(table: "Table", hidden: Sequence[str]) -> list[str]:
    from ecgopt.cli.aligned import aligned_lines

    shown = [index for index, name in enumerate(table.columns) if name not in hidden]
    rows = [[row[index] for index in shown] for row in table.rows]
    return aligned_lines([table.columns[index] for index in shown], rows)


def _first(table: "Table", column: str, count: int | None) -> "Table":
    """Return the rows with the greatest values of `column`; those without a value come last."""
    from ecgopt.errors import UserError, did_you_mean

    if column not in table.columns:
        raise UserError(
            f"--sort must name a column, but is {column!r}: {did_you_mean(column, table.columns)}"
        )
    place = table.columns.index(column)
    known = [row for row in table.rows if row[place] is not None]
    missing = [row for row in table.rows if row[place] is None]
    if any(isinstance(row[place], str) for row in known):
        ordered = sorted(known, key=lambda row: str(row[place]))
    else:
        ordered = sorted(known, key=lambda row: float(str(row[place])), reverse=True)
    return replace(table, rows=tuple([*ordered, *missing][:count]))


def _encoded(table: "Table", form: str) -> bytes:
    if form == "csv":
        return table.to_csv().encode()
    return table.to_json().encode() if form == "json" else table.to_parquet()


def _write(content: bytes, out: Path | None) -> None:
    import sys

    from ecgopt.errors import UserError
    from ecgopt.files import write_whole

    if out is None:
        if sys.stdout.isatty() and b"\0" in content:
            raise UserError("Parquet cannot be shown in a terminal: name a file with --out")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        write_whole(out, content)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): choose --out") from error
