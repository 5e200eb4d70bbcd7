"""Writes a prepared set record by record, so that memory stays small and a broken run continues."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ecgopt.data.conditioning import signal_hash
from ecgopt.data.outcomes import Dropped, Kept, Outcome
from ecgopt.data.prepared import MANIFEST, RECORDS, SIGNALS
from ecgopt.data.signals import LEADS
from ecgopt.files import sha256_of

_JOURNAL = "outcomes.jsonl"
"""What became of each record so far, one line of JSON for each, until `finish`."""
_FLUSHED_RECORDS = 32
"""Records that are lost at most if the process is killed."""


class PreparedWriter:
    """Takes outcomes in any order and over several runs; `finish` completes the folder."""

    def __init__(self, folder: Path, n_samples: int) -> None:
        self._folder = folder
        self._n_samples = n_samples
        self._record_bytes = 2 * len(LEADS) * n_samples
        path = folder / SIGNALS
        self._stream = path.open("r+b" if path.exists() else "w+b")
        self._header_bytes = self._write_npy_header(0)
        self._lines: dict[str, dict[str, Any]] = {}
        self._next_slot = 0
        self._continue()
        self._journal = (folder / _JOURNAL).open("a", encoding="utf-8")

    def __enter__(self) -> "PreparedWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._journal.close()

    def _continue(self) -> None:
        """Take over what an earlier run has stored whole."""
        journal = self._folder / _JOURNAL
        whole: list[str] = []
        if journal.exists():
            for text in journal.read_text(encoding="utf-8", errors="replace").splitlines():
                line = self._stored_line(text)
                if line is not None:
                    self._lines[line["record"]] = line
                    whole.append(text)
        slots = [line["slot"] for line in self._lines.values() if "slot" in line]
        self._next_slot = max(slots, default=-1) + 1
        self._stream.truncate(self._position(self._next_slot))
        self._stream.seek(0, 2)
        journal.write_text("".join(f"{text}\n" for text in whole), encoding="utf-8")

    def _stored_line(self, text: str) -> dict[str, Any] | None:
        """Return a line of the journal, None if it or its signal was not written whole."""
        try:
            line: dict[str, Any] = json.loads(text)
        except ValueError:
            return None
        if "slot" in line:
            self._stream.seek(self._position(line["slot"]))
            if signal_hash(self._stream.read(self._record_bytes)) != line["row"]["signal_hash"]:
                return None
        return line

    def _position(self, slot: int) -> int:
        return self._header_bytes + slot * self._record_bytes

    def holds(self, record: str, identity: str) -> bool:
        """Return True if the record is stored as it is now, and need not be read again."""
        line = self._lines.get(record)
        return line is not None and line["identity"] == identity and not line.get("broken", False)

    def add(self, outcome: Outcome, *, identity: str = "") -> None:
        """Store a kept record, or note why another was dropped.

        Args:
            outcome: What became of the record.
            identity: Changes whenever the record's files or facts do.
        """
        line: dict[str, Any] = {"record": outcome.record, "identity": identity}
        if isinstance(outcome, Dropped):
            line |= {"reason": outcome.reason, "broken": outcome.broken, "detail": outcome.detail}
        else:
            self._stream.write(outcome.conditioned.signal.astype("<i2", copy=False).tobytes())
            line |= {"slot": self._next_slot, "row": _row(outcome)}
            self._next_slot += 1
        self._lines[outcome.record] = line
        self._journal.write(json.dumps(line) + "\n")
        if len(self._lines) % _FLUSHED_RECORDS == 0:
            self._stream.flush()
            self._journal.flush()

    def damaged(self, records: Sequence[str]) -> Sequence[Dropped]:
        """Return those of `records` that are damaged."""
        return [drop for drop in self._dropped(records) if drop.broken]

    def n_kept(self, records: Sequence[str]) -> int:
        """Return how many of `records` are stored."""
        return sum("slot" in self._lines[record] for record in records)

    def dropped_summary(self, records: Sequence[str]) -> str:
        """Return the reasons for which records were dropped, the commonest first."""
        reasons = Counter(drop.reason for drop in self._dropped(records)).most_common(3)
        return "; ".join(f"{count} x {reason}" for reason, count in reasons)

    def finish(self, facts: Mapping[str, Any], records: Sequence[str] | None = None) -> None:
        """Write table and manifest.

        Args:
            facts: Joins the manifest's counts.
            records: Names of the records in the order of the set; by default all as they came.
        """
        import pandas as pd

        names = list(self._lines) if records is None else records
        kept = [line for name in names if "slot" in (line := self._lines[name])]
        rows = [line["row"] for line in kept]
        self._arrange([line["slot"] for line in kept])
        patient_of_signal: dict[str, str] = {}
        for row in rows:
            # Without a published patient, the record has that of an equal earlier signal.
            first = patient_of_signal.setdefault(row["signal_hash"], row["patient"])
            row["patient"] = row["patient"] if row["patient_published"] else first
        table = pd.DataFrame(rows)
        table["fold"] = table["fold"].astype("Int16")
        table["age_years"] = table["age_years"].astype("float64")
        table.to_parquet(self._folder / RECORDS, index=False)
        dropped = self._dropped(names)
        manifest = dict(facts) | {
            "signals_sha256": self._signals_sha256(),
            "records_sha256": sha256_of(self._folder / RECORDS),
            "counts": _counts(rows, dropped),
            "corrections": _corrections(rows),
            "records_without_published_patient": sum(not row["patient_published"] for row in rows),
            "dropped_reasons": dict(Counter(drop.reason for drop in dropped).most_common()),
            "dropped": [
                {
                    "record": drop.record,
                    "reason": drop.reason,
                    "detail": drop.detail,
                    "broken": drop.broken,
                }
                for drop in dropped
            ],
        }
        text = json.dumps(manifest, indent=1)
        (self._folder / MANIFEST).write_text(text, encoding="utf-8")
        (self._folder / _JOURNAL).unlink()

    def _dropped(self, records: Sequence[str]) -> list[Dropped]:
        lines = (self._lines[record] for record in records)
        return [
            Dropped(line["record"], line["reason"], line["broken"], line["detail"])
            for line in lines
            if "slot" not in line
        ]

    def _arrange(self, slots: Sequence[int]) -> None:
        """Bring the stored signals into the order of `slots`, and complete their header."""
        if list(slots) != list(range(len(slots))):
            path = self._folder / SIGNALS
            arranged = (self._folder / f"{SIGNALS}.arranged").open("w+b")
            arranged.seek(self._header_bytes)
            for slot in slots:
                self._stream.seek(self._position(slot))
                arranged.write(self._stream.read(self._record_bytes))
            self._stream.close()
            self._stream = arranged
            Path(arranged.name).replace(path)
        self._stream.truncate(self._position(len(slots)))
        assert self._write_npy_header(len(slots)) == self._header_bytes
        self._stream.flush()

    def _write_npy_header(self, n_records: int) -> int:
        # NumPy pads the header for a growing first axis, so it is rewritten in place at the end.
        shape = (n_records, len(LEADS), self._n_samples)
        self._stream.seek(0)
        fields = {"descr": "<i2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, fields)
        return self._stream.tell()

    def _signals_sha256(self) -> str:
        self._stream.seek(self._header_bytes)
        return hashlib.file_digest(self._stream, "sha256").hexdigest()


def _counts(rows: Sequence[Mapping[str, Any]], dropped: Sequence[Dropped]) -> dict[str, int]:
    return {
        "found": len(rows) + len(dropped),
        "kept": len(rows),
        "cut": sum(row["was_cut"] for row in rows),
        "padded": sum(row["padded_samples"] > 0 for row in rows),
        # A few zeros at an end occur in ordinary records; a tenth of a second does not.
        "padded_at_source": sum(row["zero_padded_s"] >= 0.1 for row in rows),
        "repaired": sum(row["repaired_samples"] > 0 for row in rows),
        "corrected": sum(bool(row["correction"]) for row in rows),
        "clipped": sum(row["clipped_samples"] > 0 for row in rows),
        "derived": sum(row["derived_leads"] > 0 for row in rows),
        "without_statement": sum(not row["statement_codes"] for row in rows),
        "with_flat_lead": sum(row["flat_leads"] > 0 for row in rows),
        "copies": len(rows) - len({row["signal_hash"] for row in rows}),
        "dropped": len(dropped),
        "broken": sum(drop.broken for drop in dropped),
    }


def _corrections(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many records each known error of the publisher was set right in."""
    names: Iterator[str] = (
        name for row in rows if row["correction"] for name in row["correction"].split("; ")
    )
    return dict(Counter(names).most_common())


def _row(kept: Kept) -> dict[str, Any]:
    facts, stored = kept.facts, kept.conditioned
    return {
        "record": kept.record,
        "patient": facts.patient,
        "patient_published": facts.patient_published,
        "fold": facts.fold,
        "age_years": facts.age_years,
        "sex": facts.sex,
        "statement_codes": list(facts.statements),
        "statement_likelihoods": list(facts.statements.values()),
        "sampling_rate_hz": kept.sampling_rate_hz,
        "seconds": stored.seconds,
        "correction": "; ".join(kept.corrections),
        "was_cut": stored.was_cut,
        "zero_padded_s": stored.zero_padded_s,
        "padded_samples": stored.padded_samples,
        "repaired_samples": stored.repaired_samples,
        "clipped_samples": stored.clipped_samples,
        "flat_leads": stored.flat_leads,
        "saturated_leads": stored.saturated_leads,
        "derived_leads": stored.derived_leads,
        "signal_hash": stored.signal_hash,
        "sketch": stored.sketch,
    }
