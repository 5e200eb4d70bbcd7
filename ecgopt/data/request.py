"""The prepared set that is asked for: its fingerprint, and the folder that holds it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ecgopt.data.outcomes import Dropped, outcome
from ecgopt.data.prepared import open_prepared, prepared_folders, read_local, write_local
from ecgopt.data.records import RecordEntry, Source
from ecgopt.data.signals import PrepareSettings
from ecgopt.data.wfdb_files import signal_path
from ecgopt.errors import DataError
from ecgopt.files import sha256_of
from ecgopt.plugins import code_identity

PREPARE_VERSION = 7
"""Rises whenever the same input would be stored otherwise."""

_HASHED_WHOLE_BYTES = 1 << 16


def form_of(settings: PrepareSettings) -> dict[str, Any]:
    """Return the settings that decide how a record is stored.

    What a damaged record does is no property of a set in which none is damaged.
    """
    return {key: value for key, value in asdict(settings).items() if key != "broken"}


class PreparationRequest:
    """The set that is asked for: its records, and the fingerprint that names it.

    The input counts by the content of its tables and of files without checksums, by the content of
    headers that hold the checksums of their signals, and by the names and sizes of those signals,
    so the fingerprint is equal on all machines that hold the same data.
    """

    def __init__(
        self,
        origin: Source,
        folders: Sequence[Path],
        settings: PrepareSettings,
    ) -> None:
        self.origin = origin
        self.found = origin.entries(folders)
        self.settings = settings
        self.form = form_of(settings)
        reader = repr(origin) + code_identity(origin)
        key = json.dumps([PREPARE_VERSION, origin.name, origin.version, reader, self.form])
        self.kind = hashlib.sha256(key.encode()).hexdigest()
        """Hash of reader and settings alone."""
        self.identities = {entry.record: _identity(entry) for entry in self.found}
        digest = hashlib.sha256(self.kind.encode())
        for table in origin.tables(folders):
            digest.update(_content_hash(table).encode())
        for identity in self.identities.values():
            digest.update(identity.encode())
        self.fingerprint = digest.hexdigest()

    def folder_name(self, fingerprint: str) -> str:
        """Return the name of the prepared set's folder."""
        return f"{self.origin.name}-{fingerprint[:12]}"

    @property
    def fingerprint_without_damaged(self) -> str:
        """The fingerprint of the set from which damaged records were left out."""
        return hashlib.sha256(f"{self.fingerprint} without damaged".encode()).hexdigest()

    def folders_in(self, destination: Path) -> tuple[Path, Path]:
        """Return the folders of the whole set and of the one without damaged records."""
        whole, partial = self.fingerprint, self.fingerprint_without_damaged
        return destination / self.folder_name(whole), destination / self.folder_name(partial)

    def ready_in(self, destination: Path) -> Path | None:
        """Return the folder of the set if it exists, None if it must be made.

        Raises:
            DataError: it was made without records that are no longer damaged.
        """
        whole, partial = self.folders_in(destination)
        if whole.exists():
            return whole
        if self.settings.broken == "stop" or not partial.exists():
            return None
        damaged = {
            row["record"] for row in open_prepared(partial).manifest["dropped"] if row["broken"]
        }
        for entry in (entry for entry in self.found if entry.record in damaged):
            again = outcome(self.origin, entry, self.settings)
            if not (isinstance(again, Dropped) and again.broken):
                raise DataError(
                    f"{partial} was prepared without record {entry.record}, which was damaged and "
                    "is whole now; remove that folder and prepare again"
                )
        return partial


def remember_folders(prepared: Path, folders: Sequence[Path]) -> None:
    """Note on this machine where the input of a prepared set lies."""
    given = [str(folder.absolute()) for folder in folders]
    known = [other for other in read_local(prepared).get("folders", []) if other != given]
    write_local(prepared, {"folders": [given, *known]})


def find_prepared(
    origin: Source,
    destination: Path,
    settings: PrepareSettings,
    folders: Sequence[Path] | None = None,
    *,
    description: str | None = None,
) -> Path:
    """Return the folder of the prepared set that `prepare` would open or make now.

    Args:
        origin: The data set.
        destination: Folder of prepared sets.
        settings: As given to `prepare`.
        folders: As given to `prepare`; None: those that the existing sets were made from.
        description: The file that describes the data set, where it is one's own.

    Raises:
        DataError: it is not prepared, or its input has changed since; the message says what to do.
    """
    name = description or origin.name
    if folders is not None:
        ready = _ready(PreparationRequest(origin, folders, settings), destination)
        if ready is None:
            given = " ".join(map(str, folders))
            raise DataError(
                f"{name} is not prepared from {given} with these settings; run `ecgopt data "
                f"prepare {name} --from {given}`"
            )
        return ready
    command = description or f"{name} --from DIR"
    found = prepared_folders(destination, origin.name)
    if not found:
        raise DataError(
            f"{name} is not prepared in {destination}; run `ecgopt data prepare {command}`"
        )
    forms = {folder: open_prepared(folder).manifest["settings"] for folder in found}
    fitting = [folder for folder in found if forms[folder] == form_of(settings)]
    if not fitting:
        raise DataError(
            f"{name} is not prepared with {_in_words(form_of(settings))}, but with "
            f"{'; '.join(sorted({_in_words(form) for form in forms.values()}))}: give the options "
            "that prepare was given"
        )
    current = {
        ready
        for folder in fitting
        if (ready := _from_remembered(origin, folder, destination, settings)) is not None
    }
    if len(current) == 1:
        return current.pop()
    if current:
        raise DataError(
            f"{name} is prepared from several inputs: "
            f"{'; '.join(f'{each.name} from {_input_of(each)}' for each in sorted(current))}: "
            "choose one by --from"
        )
    raise DataError(
        f"the files of {name} have changed or moved since {fitting[0].name} was prepared from "
        f"{_input_of(fitting[0])}; run `ecgopt data prepare {command}`"
    )


def _ready(request: PreparationRequest, destination: Path) -> Path | None:
    return next((each for each in request.folders_in(destination) if each.exists()), None)


def _from_remembered(
    origin: Source, prepared: Path, destination: Path, settings: PrepareSettings
) -> Path | None:
    """Return the set that the input of `prepared` gives now, None if it is not prepared."""
    for given in read_local(prepared).get("folders", []):
        try:
            request = PreparationRequest(origin, [Path(folder) for folder in given], settings)
        except DataError:
            continue  # The input is no longer there; another copy of it may be.
        ready = _ready(request, destination)
        if ready is not None:
            return ready
    return None


def _input_of(prepared: Path) -> str:
    known = read_local(prepared).get("folders", [])
    return " ".join(known[0]) if known and known[0] else "the folder that its description names"


def _in_words(form: Mapping[str, Any]) -> str:
    return (
        f"--rate {form['sampling_rate_hz']} --seconds {form['seconds']:g} --longer "
        f"{form['longer']} --shorter {form['shorter']} --flat-leads {form['flat_leads']}"
    )


def _identity(entry: RecordEntry) -> str:
    """Return a hash of what decides how a record is stored."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((entry.record, entry.facts, entry.left_out)).encode())
    checked = False
    files = list(entry.files)
    for file in files:
        try:
            if file.suffix.lower() == ".hea":
                with file.open("rb") as stream:
                    header = stream.read(_HASHED_WHOLE_BYTES)
                signals = _signal_lines(header)
                checked = _states_checksums(signals)
                digest.update(file.name.encode() + header)
                files += _further_files(signals, entry.files)
            elif checked:
                digest.update(f"{file.name} {file.stat().st_size}".encode())
            else:
                digest.update(f"{file.name} {_content_hash(file)}".encode())
        except OSError:
            digest.update(f"{file.name} is missing".encode())
    return digest.hexdigest()


def _signal_lines(header: bytes) -> list[list[bytes]]:
    """Return the first fields of the lines of a WFDB header that describe signals."""
    lines = [line for line in header.splitlines() if line.strip() and not line.startswith(b"#")]
    return [line.split(None, 7) for line in lines[1:]]


def _further_files(signals: Sequence[Sequence[bytes]], known: Sequence[Path]) -> list[Path]:
    """Return the files next to a header that it names and the reader does not know."""
    named = {fields[0].decode("utf-8", "replace") for fields in signals}
    further = named - {file.name for file in known}
    folder = known[0].parent
    if not further:
        return []
    plain = (name for name in sorted(further) if Path(name).name == name and "\0" not in name)
    return [signal_path(folder, name) for name in plain]


def _states_checksums(signals: Sequence[Sequence[bytes]]) -> bool:
    """Return True if every signal line has a checksum, its seventh field."""
    return all(len(fields) > 6 for fields in signals) and any(f[6] != b"0" for f in signals)


def _content_hash(file: Path) -> str:
    status = file.stat()
    return _hash_of_content(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash_of_content(file: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 part of the key
    # Cached, because hundreds of records may lie in one file.
    return sha256_of(file)
