"""`ecgopt data`: list, fetch, prepare, check and show data sets."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from ecgopt.cli.data_import import describe, import_
from ecgopt.cli.data_output import (
    cell,
    counts_table,
    described,
    fetch_bar,
    new_table,
    open_console,
    prepared_folder,
    print_check,
    progress_bar,
    raw_folder,
    raw_folders,
)
from ecgopt.cli.data_remove import remove
from ecgopt.cli.output import counted

if TYPE_CHECKING:
    from ecgopt.data.prepared import PreparedSet
    from ecgopt.data.records import Source
    from ecgopt.data.signals import PrepareSettings

app = App(name="data", help="List, fetch, import, prepare, check, show and remove data sets.")
app.command(import_, name="import")
app.command(describe)
app.command(remove)

Folders = Annotated[list[Path] | None, Parameter(name="--from", consume_multiple=True, negative="")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a record is stored."""

    rate: int = 100
    """Samples per second."""
    seconds: float = 10.0
    """Length of every record."""
    longer: Literal["first", "centre"] = "first"
    """Which part of longer records stays."""
    shorter: Literal["drop", "pad"] = "drop"
    """Leave shorter records out, or append zeros."""
    flat_leads: int = 11
    """Leave out records with more leads that never change."""

    def settings(self, broken: Literal["stop", "drop"] = "stop") -> "PrepareSettings":
        """Return the settings of `prepare`."""
        from ecgopt.data.signals import PrepareSettings

        return PrepareSettings(
            sampling_rate_hz=self.rate,
            seconds=self.seconds,
            longer=self.longer,
            shorter=self.shorter,
            flat_leads=self.flat_leads,
            broken=broken,
        )


_FORM = Form()


@app.command(name="list")
def list_(name: str | None = None, *, json: bool = False) -> None:
    """List every data set, or all that is known of one.

    Example: `ecgopt data list georgia`

    Args:
        name: Show this data set alone, with citation and address.
        json: Print JSON instead of a table.
    """
    from ecgopt.data.sources.catalog import dataset_info, source_names

    console = open_console()
    names = source_names() if name is None else (name,)
    rows = [described(dataset_info(each)) for each in names]
    if json:
        import json as json_module

        console.print_json(json_module.dumps(rows if name is None else rows[0]))
    elif name is not None:
        table = new_table("", "", header=False)
        for key, value in rows[0].items():
            table.add_row(key.replace("_", " "), cell(value))
        console.print(table)
    else:
        figures = ("name", "records", "patients", "rates_hz", "seconds", "size_gb", "licence")
        columns = (*figures, "label_sets", "present", "prepared")
        table = new_table(*(column.replace("_", " ") for column in columns))
        for row in rows:
            cells = {column: cell(row[column]) for column in columns}
            if console.is_terminal:
                cells["label_sets"] = cells["label_sets"].replace(", ", "\n")
            table.add_row(*cells.values())
        console.print(table)
        console.print("`ecgopt data list NAME` adds citation and address.", style="dim")


@app.command
def fetch(  # noqa: PLR0913 one parameter per option
    name: str,
    *,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    to: Path | None = None,
    mirror: Annotated[list[str] | None, Parameter(negative="")] = None,
    accept: Annotated[list[str] | None, Parameter(negative="")] = None,
    archive: bool = False,
    connections: int = 8,
) -> None:
    """Fetch a data set: in parallel, checked against its checksums, resumed where it broke.

    Exit code 1: some files could not be fetched; they are listed, and all others are there.

    Example: `ecgopt data fetch ptbxl --mirror https://physionet-open.s3.amazonaws.com/ptb-xl/1.0.3`

    Args:
        name: Name in `ecgopt data list`.
        from_: Folder or zip file on this machine with the publisher's files; nothing is downloaded.
        to: Folder for the files; by default `data/NAME` in the workspace.
        mirror: Address below which the files lie as at their publisher; repeat it to name others
            that are tried where the first fails.
        accept: Path of a file that may be missing or differ from its checksum; may be repeated.
        archive: Fetch the publisher's one zip file, where there is one.
        connections: Number of files that are fetched in parallel.
    """
    from ecgopt.data.download import FetchSettings
    from ecgopt.data.download import fetch as fetch_files
    from ecgopt.data.sources.catalog import dataset_info

    folder = to or raw_folder(name)
    settings = FetchSettings(
        mirrors=tuple(mirror or ()),
        local_copy=from_,
        accept=frozenset(accept or ()),
        archive=archive,
        connections=connections,
    )
    with fetch_bar(name) as on_change:
        done = fetch_files(dataset_info(name), folder, settings, on_change=on_change)
    console = open_console()
    for path, reason in done.accepted.items():
        console.print(f"accepted: {path}: {reason}")
    for path, reason in done.failed.items():
        console.print(f"failed: {path}: {reason}")
    megabytes = done.bytes_received / 1e6
    console.print(
        f"{name}: {counted(done.files_done, 'file')} in {folder}, {megabytes:.1f} MB received"
    )
    if done.failed:
        console.print(
            f"{counted(len(done.failed), 'file')} failed: run fetch again, try another --mirror, "
            "or continue without a file by --accept PATH"
        )
        sys.exit(1)


@app.command
def prepare(
    name: str,
    *,
    from_: Folders = None,
    to: Path | None = None,
    form: Annotated[Form, Parameter(name="*")] = _FORM,
    broken: Literal["stop", "drop"] = "stop",
    processes: int | None = None,
) -> None:
    """Read, resample and store a data set for fast opening; the same request is done once.

    Example: `ecgopt data prepare ptbxl --from /data/ptb-xl-1.0.3`

    Args:
        name: Name in `ecgopt data list`, or a description `own.toml`.
        from_: Folders of the raw records; by default `data/NAME` in the workspace.
        to: Folder of prepared sets; by default `prepared` in the workspace.
        form: How a record is stored.
        broken: End with a list of all damaged records, or leave them out and count them.
        processes: Processes that read; by default one per core.
    """
    from ecgopt.data.prepare import prepare as prepare_set
    from ecgopt.launchers.local import usable_cores

    with progress_bar(f"preparing {name}") as on_progress:
        prepared = prepare_set(
            name,
            raw_folders(name, from_),
            to or prepared_folder(),
            form.settings(broken),
            n_processes=processes or usable_cores(),
            on_progress=on_progress,
        )
    console = open_console()
    console.print(counts_table(prepared.manifest))
    unused = _codes_of_no_class(name, prepared)
    if unused:
        console.print(unused)
    console.print(f"{counted(len(prepared), 'record')} in {prepared.folder}")


def _codes_of_no_class(name: str, prepared: "PreparedSet") -> str:
    """Return which statements no class of the data set's label sets uses, empty if all are used."""
    from ecgopt.data.check import unused_codes, unused_in_words
    from ecgopt.data.labels import label_set
    from ecgopt.data.sources.catalog import dataset_info, is_published

    if name.endswith(".toml"):
        chosen: tuple[str, ...] = (name,)
    else:
        chosen = dataset_info(name).labels if is_published(name) else ()
    unused = unused_codes(prepared, [label_set(each) for each in chosen]) if chosen else {}
    return unused_in_words(unused, chosen) if unused else ""


@app.command
def check(  # noqa: PLR0913 one parameter per option
    name: str,
    *,
    labels: str | None = None,
    from_: Folders = None,
    to: Path | None = None,
    page: Path | None = None,
    json: bool = False,
    form: Annotated[Form, Parameter(name="*")] = _FORM,
) -> None:
    """Judge a prepared set: codes, classes, patients, ages, leads, amplitudes, rates and copies.

    Ends with exit code 1 if the whole set is probably read wrongly. The set's files are compared
    with their SHA-256, and its records with the other prepared sets.

    Example: `ecgopt data check ptbxl --labels ptbxl_rhythm --page check.html`

    Args:
        name: Name in `ecgopt data list`, or a description `own.toml`.
        labels: Label set; by default the first that fits the data set.
        from_: Folders of the raw records; by default those that the set was prepared from.
        to: Folder of prepared sets; by default `prepared` in the workspace.
        page: Write an HTML page with pictures of the worst records to this file.
        json: Print everything as JSON, with the names of all records concerned.
        form: As given to `prepare`.
    """
    from dataclasses import asdict

    from ecgopt.data.check import check as check_set
    from ecgopt.data.labels import label_set
    from ecgopt.data.prepared import open_prepared, other_prepared
    from ecgopt.data.sources.catalog import dataset_info, source

    folder = _asked_for(source(name), name, from_, to, form)
    prepared = open_prepared(folder, recheck=True)
    chosen = labels or (name if name.endswith(".toml") else dataset_info(name).labels[0])
    found = check_set(prepared, label_set(chosen), others=other_prepared(prepared))
    console = open_console()
    if json:
        import json as json_module

        facts = {"folder": str(folder), "labels": chosen, **asdict(found)}
        console.print_json(json_module.dumps(facts))
    else:
        console.print(f"{counted(len(prepared), 'record')} in {folder}")
        print_check(console, found, prepared.manifest, labels=chosen)
    if page is not None:
        from ecgopt.report.check_page import write_check_page

        write_check_page(page, prepared, found, labels=chosen)
        if not json:
            console.print(f"wrote {page}")
    if any(doubt.level == "error" for doubt in found.doubts):
        sys.exit(1)


def _asked_for(
    reader: "Source", name: str, from_: list[Path] | None, to: Path | None, form: Form
) -> Path:
    """Return the folder of the set that `prepare` with the same options opens."""
    from ecgopt.data.request import find_prepared

    return find_prepared(
        reader,
        to or prepared_folder(),
        form.settings(),
        from_,
        description=name if name.endswith(".toml") else None,
    )


@app.command
def show(
    name: str,
    record: str,
    *,
    from_: Folders = None,
    to: Path | None = None,
    out: Path | None = None,
    form: Annotated[Form, Parameter(name="*")] = _FORM,
) -> None:
    """Draw the twelve leads of a record on ECG paper.

    Example: `ecgopt data show ptbxl 00001 --out record.svg`

    Args:
        name: Name in `ecgopt data list`, or a description `own.toml`.
        record: Name of the record.
        from_: Folders of raw records: draw the file itself; by default the prepared record.
        to: Folder of prepared sets; by default `prepared` in the workspace.
        out: Picture to write, .svg, .png or .pdf; by default NAME-RECORD.svg.
        form: As given to `prepare`.
    """
    from ecgopt.data.prepared import open_prepared
    from ecgopt.data.sources.catalog import source
    from ecgopt.report.ecg_paper import save_ecg_page
    from ecgopt.report.record_pages import prepared_page, raw_page

    reader = source(name)
    if from_:
        page = raw_page(reader, from_, record)
    else:
        page = prepared_page(open_prepared(_asked_for(reader, name, None, to, form)), record)
    path = out or Path(f"{reader.name}-{record.replace('/', '_')}.svg")
    save_ecg_page(page, path)
    open_console().print(f"{page.title}: {page.subtitle}")
    open_console().print(f"wrote {path}")


@app.command
def overlap(upstream: str, downstream: str) -> None:
    """Show which classes of a downstream label set an upstream one has already taught.

    Example: `ecgopt data overlap ptbxl_superclass cpsc2018`

    Args:
        upstream: Label set of the pre-training.
        downstream: Label set of the comparison.
    """
    from ecgopt.data.labels import label_set
    from ecgopt.data.overlap import label_overlap

    taught, asked = label_set(upstream), label_set(downstream)
    found = label_overlap(taught, asked)
    table = new_table("downstream class", "upstream classes", "relation")
    for target in asked.classes:
        same = [a for a, b in found.same if b == target]
        related = [a for a, b in found.related if b == target]
        relation = "same" if same else "partly" if related else "new"
        table.add_row(target, ", ".join(same + related), relation)
    open_console().print(table)
    open_console().print(f"{found.share:.0%} of the downstream classes are known upstream")
