"""Writes a prepared set record by record, so that memory does not grow with the set."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ecgopt.data.outcomes import Dropped, Kept, Outcome
from ecgopt.data.prepared import MANIFEST, RECORDS, SIGNALS
from ecgopt.data.signals import LEADS


class PreparedWriter:
    """Takes outcomes one by one; `close` completes the folder."""

    def __init__(self, folder: Path, n_samples: int) -> None:
        self._folder = folder
        self._n_samples = n_samples
        self._stream = (folder / SIGNALS).open("w+b")
        self._header_bytes = self._write_npy_header(0)
        self._hash = hashlib.sha256()
        self._rows: list[dict[str, Any]] = []
        self._dropped: list[Dropped] = []
        self._patient_of_signal: dict[str, str] = {}

    def __enter__(self) -> "PreparedWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    @property
    def n_kept(self) -> int:
        """Records stored so far."""
        return len(self._rows)

    def add(self, outcome: Outcome) -> None:
        """Store a kept record, or note why another was dropped."""
        if isinstance(outcome, Dropped):
            self._dropped.append(outcome)
            return
        data = outcome.conditioned.signal.astype("<i2", copy=False).tobytes()
        self._stream.write(data)
        self._hash.update(data)
        self._rows.append(_row(outcome, self._patient(outcome)))

    def _patient(self, kept: Kept) -> str:
        """Return the record's patient; without a published one, that of an equal earlier signal."""
        first = self._patient_of_signal.setdefault(kept.conditioned.signal_hash, kept.facts.patient)
        return kept.facts.patient if kept.facts.patient_published else first

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write table and manifest; `facts` joins the manifest's counts."""
        assert self._write_npy_header(len(self._rows)) == self._header_bytes
        self._stream.flush()
        self._write_table()
        manifest = dict(facts) | {
            "signals_sha256": self._hash.hexdigest(),
            "counts": self._counts(),
            "records_without_published_patient": sum(
                not row["patient_published"] for row in self._rows
            ),
            "dropped_reasons": dict(Counter(drop.reason for drop in self._dropped).most_common()),
            "dropped": [
                {"record": drop.record, "reason": drop.reason, "broken": drop.broken}
                for drop in self._dropped
            ],
        }
        text = json.dumps(manifest, indent=1)
        (self._folder / MANIFEST).write_text(text, encoding="utf-8")

    def dropped_summary(self) -> str:
        """Return the reasons for which records were dropped, the commonest first."""
        reasons = Counter(drop.reason for drop in self._dropped).most_common(3)
        return "; ".join(f"{count} x {reason}" for reason, count in reasons)

    def _write_npy_header(self, n_records: int) -> int:
        # NumPy pads the header for a growing first axis, so it is rewritten in place at the end.
        shape = (n_records, len(LEADS), self._n_samples)
        self._stream.seek(0)
        fields = {"descr": "<i2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, fields)
        return self._stream.tell()

    def _write_table(self) -> None:
        import pandas as pd

        table = pd.DataFrame(self._rows)
        table["fold"] = table["fold"].astype("Int16")
        table["age_years"] = table["age_years"].astype("float64")
        table.to_parquet(self._folder / RECORDS, index=False)

    def _counts(self) -> dict[str, int]:
        return {
            "found": len(self._rows) + len(self._dropped),
            "kept": len(self._rows),
            "cut": sum(row["was_cut"] for row in self._rows),
            "padded": sum(row["padded_samples"] > 0 for row in self._rows),
            # A few zeros at an end occur in ordinary records; a tenth of a second does not.
            "padded_at_source": sum(row["zero_padded_s"] >= 0.1 for row in self._rows),
            "repaired": sum(row["repaired_samples"] > 0 for row in self._rows),
            "corrected": sum(bool(row["correction"]) for row in self._rows),
            "clipped": sum(row["clipped_samples"] > 0 for row in self._rows),
            "dropped": len(self._dropped),
            "broken": sum(drop.broken for drop in self._dropped),
        }


def _row(kept: Kept, patient: str) -> dict[str, Any]:
    facts, stored = kept.facts, kept.conditioned
    return {
        "record": kept.record,
        "patient": patient,
        "patient_published": facts.patient_published,
        "fold": facts.fold,
        "age_years": facts.age_years,
        "sex": facts.sex,
        "statement_codes": list(facts.statements),
        "statement_likelihoods": list(facts.statements.values()),
        "sampling_rate_hz": kept.sampling_rate_hz,
        "seconds": stored.seconds,
        "correction": kept.correction,
        "was_cut": stored.was_cut,
        "zero_padded_s": stored.zero_padded_s,
        "padded_samples": stored.padded_samples,
        "repaired_samples": stored.repaired_samples,
        "clipped_samples": stored.clipped_samples,
        "flat_leads": stored.flat_leads,
        "saturated_leads": stored.saturated_leads,
        "signal_hash": stored.signal_hash,
    }
