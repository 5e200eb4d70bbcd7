"""`ecgopt data import` and `ecgopt data describe`: from files of a clinic to an own data set."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ecgopt.cli.data_output import open_console, progress_bar
from ecgopt.cli.output import counted

if TYPE_CHECKING:
    from ecgopt.data.clinic.arrays import ArrayForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """What NumPy, HDF5 and CSV files do not say themselves."""

    rate: float | None = None
    """Samples per second, of arrays and CSV files."""
    unit: str | None = None
    """Unit of the values, of arrays and CSV files: uV, mV or V."""
    leads: str | None = None
    """Order of the leads in arrays, with commas; by default I,II,III,aVR,aVL,aVF,V1,...,V6."""
    dataset: str | None = None
    """Name of the data set within HDF5 files."""

    def form(self) -> "ArrayForm":
        """Return the form for the readers."""
        from ecgopt.data.clinic.arrays import ArrayForm
        from ecgopt.data.signals import LEADS

        leads = LEADS if self.leads is None else tuple(map(str.strip, self.leads.split(",")))
        return ArrayForm(rate=self.rate, unit=self.unit, leads=leads, dataset=self.dataset)


_ARRAYS = Arrays()


def import_(  # noqa: PLR0913 one parameter per option
    source: Annotated[list[Path], Parameter(negative="")],
    *,
    to: Path,
    keep: Annotated[list[Literal["names", "dates", "text"]] | None, Parameter(negative="")] = None,
    link: Path | None = None,
    names: Path | None = None,
    key: str | None = None,
    arrays: Annotated[Arrays, Parameter(name="*")] = _ARRAYS,
) -> None:
    """Turn files of a clinic into WFDB records, without names and dates of patients.

    Reads GE MUSE XML, Philips Sierra XML, HL7 aECG, DICOM, EDF(+), BDF, CSV, NumPy and HDF5 files,
    known by their content. The new folder gets the records, `records.csv` with patient (numbered),
    age and sex of each, and `import.json` with the SHA-256 of each file.

    Exit code 1: some files could not be read; they are listed, and all others are there.

    Example: `ecgopt data import exports/ --to ecgs --link ../link.csv`

    Args:
        source: Files and folders.
        to: New folder.
        keep: Keep what is left out otherwise, in `records.csv`: name and number of the patient, the
            time of the recording, or the lines of the report; may be repeated.
        link: Number the records, because names of files may name patients, and write which file and
            patient each is to this table. Keep it apart; a later import continues its numbers.
        names: Table with one row per record of an array, in the same order.
        key: Column of that table with the names of the records.
        arrays: Of arrays and CSV files.
    """
    from ecgopt.data.clinic.importing import ImportSettings, import_files

    settings = ImportSettings(
        arrays=arrays.form(), keep=frozenset(keep or ()), link=link, names=names, key=key
    )
    with progress_bar("importing") as on_progress:
        done = import_files(source, to, settings, on_progress=on_progress)
    console = open_console()
    for kind, count in done.formats.items():
        console.print(f"{counted(count, 'record')} from {kind}")
    for ending, count in done.unknown.items():
        console.print(f"left aside: {count:,} x {ending}: no known format")
    for file, reason in done.failed.items():
        console.print(f"failed: {file}: {reason}")
    console.print(f"{counted(done.records, 'record')} in {to}")
    console.print("next: ecgopt data describe FOLDER, where it holds the table of findings too")
    if done.failed:
        sys.exit(1)


def describe(folder: Path, *, out: Path | None = None) -> None:
    """Write a first description of the WFDB records and tables in a folder, with questions.

    Example: `ecgopt data describe clinic/ --out clinic.toml`

    Args:
        folder: Holds WFDB records, and tables that name them.
        out: File to write; by default FOLDER.toml in this folder.
    """
    from ecgopt.data.describe import describe as describe_folder
    from ecgopt.errors import DataError
    from ecgopt.files import write_whole

    path = out or Path(f"{folder.resolve().name}.toml")
    if path.exists():
        raise DataError(f"{path} exists: remove it, or give another name by --out")
    found = describe_folder(folder, path.parent)
    write_whole(path, found.text.encode())
    console = open_console()
    console.print(f"{found.n_records:,} records; {found.n_questions} questions in {path}")
    console.print(f"next: answer them, then ecgopt data prepare {path}")
