"""WFDB records in the form of the CinC Challenges 2020 and 2021: facts in `#` comments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecgopt.data.errata import errata_of, ptb_patients, right_name
from ecgopt.data.listing import Listing, find_files, listing, published_headers
from ecgopt.data.records import LeftOut, Reading, RecordEntry, RecordFacts, age_of, sex_of
from ecgopt.data.sources.ptbxl import ptbxl_patient_and_fold
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import WfdbHeader, comment_fields, header_bytes, parse_header

_PTBXL_COPY = re.compile(r"HR\d{5}")
_CHAGAS = {"true": "chagas", "1": "chagas", "false": "no chagas", "0": "no chagas"}
_PATIENT_KEYS = ("patient", "patient id")
_STATEMENT_SEPARATOR = re.compile(r"[,;]")


@dataclass(frozen=True, slots=True)
class Cinc:
    """Reads folders of `.hea` files, at any depth, with `#Age`, `#Sex` and `#Dx` comments.

    Source: Perez Alday et al. 2020, doi:10.1088/1361-6579/abc960; Reyna et al. 2021,
        doi:10.23919/CinC53138.2021.9662687.
    """

    name: str = "cinc"
    record_pattern: str = r".*"
    """Full match of the record names that belong to the data set."""
    sampling_rates_hz: tuple[float, ...] = ()
    version: int = 2

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:  # noqa: ARG002 as in `Source`
        """Return nothing: all facts stand in the headers."""
        return []

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return a record for every header whose name fits, ordered by name."""
        found = find_files(folders, self.name, ".hea")
        entries: list[RecordEntry] = []
        others: list[str] = []
        for header in found.files:
            record = right_name(self.name, header.stem)
            if re.fullmatch(self.record_pattern, record):
                entries.append(RecordEntry(record=record, files=_files(header, record)))
            else:
                others.append(record)
        here = {entry.record for entry in entries}
        listed = {right_name(self.name, stem) for stem in published_headers(folders)} - here
        aside = {
            "listed by the publisher, not in the folders": [
                stem for stem in listed if re.fullmatch(self.record_pattern, stem)
            ],
            "record of another data set": others,
            "hidden file": found.hidden,
        }
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading | LeftOut:
        """Return the signal and facts of one record; known errors of its set are set right."""
        header, corrections = self._right_header(entry)
        fields = comment_fields(header)
        label = fields.get("chagas label")
        if label is not None and label.lower() not in _CHAGAS:
            return LeftOut(f"its Chagas label is neither true nor false, but {label[:20]!r}")
        facts = facts_of(header, source=self.name)
        for known in errata_of(self.name):
            if not known.concerns(entry.record):
                continue
            if known.unknown_age is not None and facts.age_years == known.unknown_age:
                facts = replace(facts, age_years=None)
                corrections.append(known.name)
            elif (known.withdrawn and not facts.patient_published) or known.ptb_patient:
                corrections.append(known.name)
        if len(_diagnosis_lines(header)) > 1:
            corrections.append("several Dx lines, all read")
        signal = read_wfdb(header, entry.files[0].parent, entry.settings)
        return Reading(facts, signal, tuple(corrections))

    def _right_header(self, entry: RecordEntry) -> tuple[WfdbHeader, list[str]]:
        """Return the header without the known errors of its set, and their names."""
        path, corrections = entry.files[0], list[str]()
        data = header_bytes(path)
        for known in errata_of(self.name):
            if known.merged_first_line and known.concerns(entry.record):
                divided = divide_first_line(data, entry.record)
                corrections += [known.name] if divided != data else []
                data = divided
        header = parse_header(data, record=entry.record)
        for known in errata_of(self.name):
            if known.right_name is not None and known.concerns(path.stem):
                corrections.append(known.name)
                header = _with_signal_file(header, path.parent, entry.files[1].name)
            if known.right_gain is None or not known.concerns(entry.record):
                continue
            if all(signal.gain_per_unit == known.wrong_gain for signal in header.signals):
                corrections.append(known.name)
                header = _with_gain(header, known.right_gain)
        return header, corrections


def _files(header: Path, record: str) -> tuple[Path, ...]:
    mat = header.with_name(f"{record}.mat")
    return (header, mat if mat.exists() else header.with_name(f"{record}.dat"))


def divide_first_line(data: bytes, record: str) -> bytes:
    """Return the header with its first line divided in two where a newline was lost in it.

    The number of samples and the first signal's file, format and gain were lost with the newline;
    the other signals state the latter, and the length of the file the former.
    """
    first, _, rest = data.partition(b"\n")
    merged, second = first.split(), rest.partition(b"\n")[0].split()
    if len(merged) < 9 or len(second) < 9:
        return data
    line = b" ".join([*second[:3], *merged[-6:]])
    return b" ".join([record.encode(), *merged[1:3]]) + b"\n" + line + b"\n" + rest


def _with_signal_file(header: WfdbHeader, folder: Path, file_name: str) -> WfdbHeader:
    """Return `header` with the one signal file that is there."""
    signals = tuple(
        signal if (folder / signal.file_name).exists() else replace(signal, file_name=file_name)
        for signal in header.signals
    )
    return replace(header, signals=signals)


def _with_gain(header: WfdbHeader, gain: float) -> WfdbHeader:
    signals = tuple(replace(signal, gain_per_unit=gain) for signal in header.signals)
    return replace(header, signals=signals)


def _diagnosis_lines(header: WfdbHeader) -> list[str]:
    pairs = [comment.partition(":") for comment in header.comments]
    return [value.strip() for key, _, value in pairs if key.strip().lower() == "dx"]


def facts_of(header: WfdbHeader, *, source: str = "cinc") -> RecordFacts:
    """Return what the comments of `header` say; unknown values become None.

    A diagnosis given as text (`Dx: RBBB`, the first issue of 2020) is kept as its own code. The
    copies of PTB-XL (`HR00001` is its `ecg_id` 1) get PTB-XL's patient and fold, those of PTB
    (`S0001` is its first record) the patient of PTB.
    """
    fields = comment_fields(header)
    lines = _diagnosis_lines(header)
    codes = [code.strip() for line in lines for code in _STATEMENT_SEPARATOR.split(line)]
    statements = {code: 100.0 for code in codes if code and code.lower() != "unknown"}
    if "chagas label" in fields:
        statements[_CHAGAS[fields["chagas label"].lower()]] = 100.0
    patient, fold = _patient_and_fold(header.record, fields, source)
    return RecordFacts(
        patient=patient or f"cinc-{header.record}",
        patient_published=patient is not None,
        fold=fold,
        age_years=age_of(fields.get("age", "")),
        sex=sex_of(fields.get("sex", "")),
        statements=statements,
    )


def _patient_and_fold(
    record: str, fields: Mapping[str, str], source: str
) -> tuple[str | None, int | None]:
    if _PTBXL_COPY.fullmatch(record):
        return ptbxl_patient_and_fold(int(record[2:]))
    if record in ptb_patients():
        return f"ptb-{ptb_patients()[record]}", None
    stated = next((fields[key] for key in _PATIENT_KEYS if fields.get(key)), None)
    return (None if stated is None else f"{source}-{stated}"), None
