"""`ecgopt trials`: every trial of a study file, for people and for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecgopt.cli.options import StudyFile

if TYPE_CHECKING:
    from ecgopt.report.tables import Table

_HIDDEN = ("regime", "replicate", "samples")
"""Columns left out for people: in the study's name, or of no use to the eye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How trials are written; for people unless one form is asked for."""

    csv: bool = False
    """Write CSV with a heading line."""
    parquet: bool = False
    """Write Parquet."""
    json: bool = False
    """Write a JSON array of objects."""

    def chosen(self) -> str | None:
        """Return the name of the form asked for, None for the aligned table.

        Raises:
            UserError: more than one is asked for.
        """
        from ecgopt.errors import UserError

        asked = [name for name in ("csv", "parquet", "json") if getattr(self, name)]
        if len(asked) > 1:
            raise UserError(f"one form can be written at a time, but got --{' and --'.join(asked)}")
        return asked[0] if asked else None


_TABLE = Form()


def trials(
    study: StudyFile,
    *,
    regime: str | None = None,
    form: Annotated[Form, Parameter(name="*")] = _TABLE,
    out: Path | None = None,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """List the trials of a study as a table, CSV, Parquet or JSON.

    Each with its parameters, score, epochs, seconds and why it ended.

    Example: `ecgopt trials studies/demo.toml --regime fine_tune --csv --out trials.csv`

    Args:
        study: Study file.
        regime: Only this regime's trials.
        form: One of --csv, --parquet and --json.
        out: File to write to; by default the standard output.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.comparison.evidence import load_studies
    from ecgopt.comparison.open_study import open_begun
    from ecgopt.errors import UserError
    from ecgopt.report.tables import trials_table

    chosen = form.chosen()
    begun = open_begun(study, storage, workspace)
    regimes = begun.spec.regimes if regime is None else (regime,)
    if regime is not None and regime not in begun.spec.regimes:
        raise UserError(
            f"`regime` must be one of {', '.join(begun.spec.regimes)}, but got {regime!r}"
        )
    table = trials_table(load_studies(begun.database, begun.spec, regimes))
    if chosen is None and out is None:
        _show(table)
    else:
        _write(_encoded(table, chosen or "csv"), out)


def _show(table: "Table") -> None:
    from rich.console import Console

    from ecgopt.cli.aligned import aligned_lines

    shown = [index for index, name in enumerate(table.columns) if name not in _HIDDEN]
    rows = [[row[index] for index in shown] for row in table.rows]
    console = Console()
    for line in aligned_lines([table.columns[index] for index in shown], rows):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


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
            raise UserError("Parquet does not belong in a terminal: name a file with --out")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        write_whole(out, content)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): choose --out") from error
