"""`ecgopt trials`: every trial of a study file, for people and for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ecgopt.cli.options import DEFAULT_PLACE, FLAT, ExistingFile, PlaceOptions

if TYPE_CHECKING:
    from ecgopt.report.tables import Table

_HIDDEN = ("regime", "replicate", "samples")
"""Columns that the aligned table leaves out: they are in the study's name, or rarely read."""


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


_TABLE = Form()


def trials(
    study: ExistingFile,
    *,
    regime: str | None = None,
    form: Annotated[Form, FLAT] = _TABLE,
    out: Path | None = None,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """List the trials of a study as a table, CSV, Parquet or JSON.

    Each trial has its parameters, score, epochs, seconds and the cause of its end.

    Example: `ecgopt trials studies/demo.toml --regime fine_tune --csv --out trials.csv`

    Args:
        study: Study file.
        regime: Only this regime's trials.
        form: One of --csv, --parquet and --json.
        out: File to write to; by default the standard output.
        place: Where the database and the files are.
    """
    from ecgopt.errors import UserError

    chosen = form.chosen()
    begun = place.open_begun(study)
    regimes = begun.spec.regimes if regime is None else (regime,)
    if regime is not None and regime not in begun.spec.regimes:
        raise UserError(
            f"--regime must be one of {', '.join(begun.spec.regimes)}, but is {regime!r}"
        )

    from ecgopt.comparison.evidence import load_studies
    from ecgopt.report.tables import trials_table

    table = trials_table(load_studies(begun.database, begun.spec, regimes))
    if chosen is None and out is None:
        _show(table)
    else:
        _write(_encoded(table, chosen or "csv"), out)


def _show(table: "Table") -> None:
    from ecgopt.cli.aligned import aligned_lines
    from ecgopt.cli.output import print_lines

    shown = [index for index, name in enumerate(table.columns) if name not in _HIDDEN]
    rows = [[row[index] for index in shown] for row in table.rows]
    print_lines(*aligned_lines([table.columns[index] for index in shown], rows))


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
