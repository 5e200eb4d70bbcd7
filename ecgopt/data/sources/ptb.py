"""PTB Diagnostic ECG Database: 549 records of 290 patients, at 1000 Hz and up to two minutes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgopt.data.listing import Listing, find_files, listing
from ecgopt.data.records import Reading, RecordEntry, RecordFacts, age_of, sex_of
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import WfdbHeader, comment_fields, read_header

_PATIENT = re.compile(r"patient(\d{3})")
_UNKNOWN = {"", "n/a"}


@dataclass(frozen=True, slots=True)
class Ptb:
    """Reads PTB in the layout of PhysioNet: `patient001/s0010_re.hea`.

    The statement of a record is its "Reason for admission" in lower case: `myocardial infarction`,
    `healthy control` and others; it has none where the header says n/a.

    Source: Bousseljot, Kreiseler and Schnabel 1995; PhysioNet ptbdb 1.0.0, doi:10.13026/C28C71.
    """

    name: str = "ptb"
    sampling_rates_hz: tuple[float, ...] = (1000.0,)
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:  # noqa: ARG002 as in `Source`
        """Return nothing: all facts stand in the headers and folder names."""
        return []

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return the records of all `patientNNN` folders, ordered by patient and record."""
        found = find_files(folders, self.name, ".hea")
        entries = [
            RecordEntry(
                record=f"{header.parent.name}_{header.stem}",
                files=(header, header.with_suffix(".dat"), header.with_suffix(".xyz")),
            )
            for header in found.files
            if _PATIENT.fullmatch(header.parent.name)
        ]
        elsewhere = [
            header.stem for header in found.files if not _PATIENT.fullmatch(header.parent.name)
        ]
        aside = {"header outside a folder patientNNN": elsewhere, "hidden file": found.hidden}
        return listing(entries, self.name, aside=aside)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one record."""
        path = entry.files[0]
        header = read_header(path)
        return Reading(
            _facts(header, path.parent.name), read_wfdb(header, path.parent, entry.settings)
        )


def _facts(header: WfdbHeader, patient: str) -> RecordFacts:
    fields = comment_fields(header)
    reason = fields.get("reason for admission", "").lower()
    return RecordFacts(
        patient=f"ptb-{patient}",
        age_years=age_of(fields.get("age", "")),
        sex=sex_of(fields.get("sex", "")),
        statements={} if reason in _UNKNOWN else {reason: 100.0},
    )
