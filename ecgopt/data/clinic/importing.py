"""From files of a clinic to a folder of WFDB records with a table of patients."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ecgopt import __version__
from ecgopt.data.clinic.aecg import read_aecg
from ecgopt.data.clinic.arrays import ArrayForm, names_leads, read_csv, read_hdf5, read_numpy
from ecgopt.data.clinic.dicom import read_dicom
from ecgopt.data.clinic.edf import read_edf
from ecgopt.data.clinic.muse import read_muse
from ecgopt.data.clinic.recording import Recording, write_wfdb
from ecgopt.data.clinic.sierra import read_sierra
from ecgopt.data.clinic.xml_files import read_xml
from ecgopt.data.csv_tables import read_rows
from ecgopt.data.listing import files_below
from ecgopt.data.signals import LEADS
from ecgopt.errors import DataError, RecordError
from ecgopt.files import sha256_of, write_whole

RECORDS = "records.csv"
REPORT = "import.json"

Kept = Literal["names", "dates", "text"]
"""What a file says about a person and is left out unless it is asked for: name and number of the
patient, time of the recording, lines of the report."""

_LINK_COLUMNS = ("record", "file", "patient", "patient_id")
_SNIFFED_BYTES = 4096
_XML_ROOTS = {"restingecg": read_muse, "restingecgdata": read_sierra, "annotatedecg": read_aecg}
_NAMES = {
    "restingecg": "GE MUSE XML",
    "restingecgdata": "Philips Sierra XML",
    "annotatedecg": "HL7 aECG",
}
_KNOWN_UNREAD = {
    "cardiologyxml": "CardioSoft XML is not read: export aECG or DICOM",
    "scp": "SCP-ECG is not read: export aECG or DICOM",
    "zarr": "Zarr is not read: turn it into NumPy by numpy.save('a.npy', zarr.open('a.zarr'))",
}

_OF_ZARR = frozenset({".zarray", "zarr.json"})
"""Files that describe an array of Zarr in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """How files are imported."""

    arrays: ArrayForm = field(default_factory=ArrayForm)
    keep: frozenset[Kept] = frozenset()
    link: Path | None = None
    """A table, kept apart, of record to file and patient; records are then numbered. It is read
    first if it exists, so that a patient has the same number in a later import."""
    names: Path | None = None
    """A table with one row per record of an array, in the same order."""
    key: str | None = None
    """The column of `names` that names the records."""


@dataclass(slots=True)
class Imported:
    """What became of the files."""

    records: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    """File to the reason why it gives no record."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Ending of the files of no known format, to their number."""


def import_files(
    sources: Sequence[Path],
    to: Path,
    settings: ImportSettings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Write every recording in `sources` to the folder `to`, with tables and provenance.

    A file that cannot be read does not stop the others. Next to the records lie `records.csv`, one
    row per record, and `import.json`, which names version, options and the SHA-256 of each file.

    Args:
        sources: Files and folders.
        to: A folder that is empty or does not exist.
        settings: Options.
        on_progress: Called with the files done and their total.

    Raises:
        UserError: a source is missing, `to` is not empty, no file gives a record, an array is not
            described by options, or a library is missing.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise DataError(f"{to} is not empty: choose a new folder")
    files = list(_files(sources))
    work = _Import(to, settings)
    for done, (root, path) in enumerate(files, start=1):
        work.add(root, path)
        if on_progress is not None:
            on_progress(done, len(files))
    work.finish()
    return work.found


def _files(sources: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    for source in sources:
        if source.is_dir():
            inner = sorted(files_below(source, "import"))
            yield from (
                (source, path)
                for path in inner
                if not path.name.startswith(".") or path.name in _OF_ZARR
            )
        elif source.is_file():
            yield source.parent, source
        else:
            raise DataError(f"{source}: No such file or folder; check the path")


class _Import:
    """One run of `import_files`."""

    def __init__(self, to: Path, settings: ImportSettings) -> None:
        self.found = Imported()
        self._to, self._settings = to, settings
        self._rows: list[dict[str, object]] = []
        self._sources: list[dict[str, object]] = []
        self._used: set[str] = set()
        self._links = _read_link(settings.link)
        self._patients = {
            row["patient_id"]: row["patient"] for row in self._links.values() if row["patient_id"]
        }
        self._link_of: dict[str, dict[str, str]] = {}
        self._keys = _keys(settings)

    def add(self, root: Path, path: Path) -> None:
        """Import one file, or note why it gives no record."""
        name = path.relative_to(root).as_posix()
        before = self.found.records
        try:
            kind, recordings = read_file(path, self._settings.arrays)
            if recordings is None:
                self.found.unknown[path.suffix.lower() or path.name] += 1
                return
            self._add_all(path, name, kind, recordings)
        except RecordError as error:
            detail = f" ({error.detail})" if error.detail else ""
            kept = self.found.records - before
            more = f"; {kept} records before it are kept" if kept else ""
            self.found.failed[name] = f"{error.reason}{detail}{more}"

    def _add_all(self, path: Path, name: str, kind: str, recordings: Iterator[Recording]) -> None:
        digest = sha256_of(path)
        several = kind in {"NumPy", "HDF5"}
        for number, recording in enumerate(recordings):
            record = self._record(name, number if several else None, path.stem)
            comments = [f"source: {kind}, SHA-256 {digest}", f"imported by: ecgopt {__version__}"]
            write_wfdb(recording, self._to / f"{record}.hea", comments)
            self._sources.append({"record": record, "format": kind, "sha256": digest})
            self._rows.append(self._row(record, kind, recording))
            self.found.records += 1
            self.found.formats[kind] += 1
        if several and self._keys is not None and number + 1 != len(self._keys):
            raise RecordError(
                path.stem,
                "the table of names must have one row per record",
                f"{len(self._keys)} rows, {number + 1} records",
            )

    def _record(self, name: str, number: int | None, stem: str) -> str:
        """Return the name of a new record below the folder."""
        if number is not None and self._keys is not None:
            if number >= len(self._keys):
                raise RecordError(stem, "the table of names has too few rows", str(number))
            record = _as_name(self._keys[number])
        else:
            record = _as_name(name.rpartition(".")[0] or name)
            record += "" if number is None else f"_{number:06d}"
        if self._settings.link is not None:
            file = name if number is None else f"{name}#{number}"
            if file not in self._links:
                record = f"r{len(self._links) + 1:06d}"
                self._links[file] = {"record": record, "file": file}
            record = self._links[file]["record"]
            self._link_of[record] = self._links[file]
        if record in self._used:
            raise RecordError(stem, "another file gives a record of the same name", record)
        self._used.add(record)
        return record

    def _row(self, record: str, kind: str, recording: Recording) -> dict[str, object]:
        person, keep = recording.person, self._settings.keep
        patient = person.patient_id
        if patient and "names" not in keep:
            patient = self._patients.setdefault(patient, f"p{len(self._patients) + 1:06d}")
        if self._settings.link is not None:
            self._link_of[record] |= {"patient": patient, "patient_id": person.patient_id}
        n_samples = recording.samples.shape[1]
        row: dict[str, object] = {
            "record": record,
            "patient": patient,
            "age": "" if recording.age is None else f"{recording.age:g}",
            "sex": person.sex or "",
            "sampling_rate_hz": f"{recording.sampling_rate_hz:g}",
            "seconds": f"{n_samples / recording.sampling_rate_hz:.3f}",
            "leads": len(set(recording.leads) & set(LEADS)),
            "format": kind,
        }
        if "names" in keep:
            row["name"] = person.name
        if "dates" in keep:
            row["recorded"] = recording.recorded.isoformat() if recording.recorded else ""
        if "text" in keep:
            row["statements"] = "|".join(each.replace("|", "/") for each in recording.statements)
        return row

    def finish(self) -> None:
        """Write the tables."""
        found = self.found
        if not found.records:
            some = "; ".join(f"{file}: {why}" for file, why in list(found.failed.items())[:3])
            endings = ", ".join(f"{count} x {end}" for end, count in found.unknown.most_common(5))
            raise DataError(
                f"no file gives a record; {some or 'none has a known format'}"
                + (f" ({endings})" if endings else "")
            )
        write_whole(self._to / RECORDS, _csv(self._rows))
        report = {
            "ecgopt": __version__,
            "kept": sorted(self._settings.keep),
            "formats": dict(found.formats),
            "failed": len(found.failed),
            "unknown": dict(found.unknown),
            "records": self._sources,
        }
        write_whole(self._to / REPORT, (json.dumps(report, indent=1) + "\n").encode())
        if self._settings.link is not None:
            write_whole(self._settings.link, _csv(list(self._links.values())))
            self._settings.link.chmod(0o600)


def _as_name(text: str) -> str:
    """Return `text` as the path of a record: letters, digits, `.`, `_` and `-`."""
    parts = [re.sub(r"[^\w.-]", "_", part).lstrip(".") or "_" for part in text.split("/")]
    return "/".join(parts)


def _csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _read_link(link: Path | None) -> dict[str, dict[str, str]]:
    """Return file to row of the table."""
    if link is None or not link.exists():
        return {}
    rows = read_rows(link, _LINK_COLUMNS)
    return {row["file"]: {name: row[name] for name in _LINK_COLUMNS} for row in rows}


def _keys(settings: ImportSettings) -> list[str] | None:
    if settings.names is None:
        return None
    if settings.key is None:
        raise DataError(f"{settings.names}: name the column of the records' names by --key COLUMN")
    return [row[settings.key] for row in read_rows(settings.names, [settings.key])]


def read_file(path: Path, arrays: ArrayForm) -> tuple[str, Iterator[Recording] | None]:
    """Return format and recordings of a file, known by its content; None if it is none of ours.

    Raises:
        RecordError: the file is damaged, or of a format that is known and not read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_SNIFFED_BYTES)
    except OSError as error:
        reason = f"its file cannot be read: {error.strerror or error}"
        raise RecordError(path.stem, reason, str(path)) from error
    if head.startswith(b"\x93NUMPY"):
        return "NumPy", read_numpy(path, arrays)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "HDF5", read_hdf5(path, arrays)
    found = _single(path, head, arrays)
    return (found[0], iter([found[1]])) if found is not None else ("", None)


def _single(path: Path, head: bytes, arrays: ArrayForm) -> tuple[str, Recording] | None:
    """Return format and recording of a file that holds one."""
    if head[128:132] == b"DICM":
        return "DICOM", read_dicom(path)
    if head[:8] in {b"0       ", b"\xffBIOSEMI"} and len(head) >= 256:
        return "BDF" if head[:1] == b"\xff" else "EDF", read_edf(path)
    if path.name in _OF_ZARR:
        raise RecordError(path.stem, _KNOWN_UNREAD["zarr"])
    if head[16:22] == b"SCPECG":
        raise RecordError(path.stem, _KNOWN_UNREAD["scp"], path.name)
    if _looks_like_xml(head):
        return _xml(path)
    if path.suffix.lower() in {".csv", ".tsv", ".txt"} and names_leads(head):
        return "CSV", read_csv(path, arrays)
    return None


def _xml(path: Path) -> tuple[str, Recording] | None:
    root = read_xml(path)
    if root.tag in _KNOWN_UNREAD:
        raise RecordError(path.stem, _KNOWN_UNREAD[root.tag], path.name)
    if root.tag not in _XML_ROOTS:
        return None
    return _NAMES[root.tag], _XML_ROOTS[root.tag](root, path)


def _looks_like_xml(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head[: len(head) // 2 * 2].decode("utf-16", "replace").encode()
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")
