"""What there is to know, and to worry about, in a prepared data set."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgopt.data.label_classes import LabelSet
from ecgopt.data.prepared import PreparedSet

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """Counts of one prepared set under one label set."""

    counts: Mapping[str, int]
    """Records found, kept, cut, padded, repaired, corrected, clipped and dropped."""
    dropped_reasons: Mapping[str, int]
    patients: int
    without_patient: int
    """Records whose patient is not published, so that each counts as its own."""
    records_per_fold: Mapping[int, int]
    patients_per_fold: Mapping[int, int]
    patients_in_several_folds: int
    positives: Mapping[str, int]
    """Records per class."""
    unlabelled: int
    """Records that carry no class of the label set."""
    without_statement: int
    """Records for which no statement is published."""
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of records whose stored signals are equal."""
    flat: tuple[str, ...]
    """Records with a lead that never changes."""
    saturated: tuple[str, ...]
    """Records with a lead that rests at its extreme for 80 ms or more."""
    without_age: int
    without_sex: int
    unused_codes: Mapping[str, int]
    """Statements that no class of the label set uses, to the records that have them."""
    absent_codes: tuple[str, ...]
    """Codes of the label set that no record has."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a study should know before it trusts the set."""
        lone = [name for name, count in self.positives.items() if count == 0]
        found = {
            f"{self.without_patient} records have no published patient: each counts as one, so a "
            "person's records may lie on both sides of a split": bool(self.without_patient),
            f"{self.patients_in_several_folds} patients have records in several folds": bool(
                self.patients_in_several_folds
            ),
            f"no record is {', '.join(lone)}": bool(lone),
            f"{len(self.duplicates)} groups of records have equal signals": bool(self.duplicates),
            f"{len(self.flat)} records have a flat lead": bool(self.flat),
            f"{len(self.saturated)} records have a saturated lead": bool(self.saturated),
            f"{self.without_statement} records have no statement": bool(self.without_statement),
            f"{self.counts['broken']} damaged records were left out": bool(self.counts["broken"]),
        }
        return tuple(text for text, applies in found.items() if applies)


def check(prepared: PreparedSet, label_set: LabelSet) -> DataCheck:
    """Return the counts of `prepared` under `label_set`."""
    records = prepared.records
    labels = prepared.labels(label_set)
    folded = records.dropna(subset=["fold"])
    by_fold = folded.groupby("fold", sort=True)
    folds_of_patient = folded.groupby("patient")["fold"].nunique()
    copies = records[records["signal_hash"].duplicated(keep=False)]
    names = records["record"].to_numpy()
    codes = Counter(code for listed in records["statement_codes"] for code in listed)
    return DataCheck(
        counts=dict(prepared.manifest["counts"]),
        dropped_reasons=dict(prepared.manifest["dropped_reasons"]),
        patients=int(records["patient"].nunique()),
        without_patient=int((~records["patient_published"]).sum()),
        records_per_fold=_by_fold(by_fold["record"].count()),
        patients_per_fold=_by_fold(by_fold["patient"].nunique()),
        patients_in_several_folds=int((folds_of_patient > 1).sum()),
        positives=dict(zip(label_set.classes, labels.sum(axis=0).tolist(), strict=True)),
        unlabelled=int((~labels.any(axis=1)).sum()),
        without_statement=int((records["statement_codes"].map(len) == 0).sum()),
        duplicates=tuple(
            tuple(group) for _, group in copies.groupby("signal_hash", sort=False)["record"]
        ),
        flat=tuple(names[(records["flat_leads"] > 0).to_numpy()]),
        saturated=tuple(names[(records["saturated_leads"] > 0).to_numpy()]),
        without_age=int(records["age_years"].isna().sum()),
        without_sex=int(records["sex"].isna().sum()),
        unused_codes={code: n for code, n in codes.most_common() if code not in label_set.members},
        absent_codes=tuple(code for code in label_set.members if code not in codes),
    )


def _by_fold(series: "pd.Series[int]") -> dict[int, int]:
    folds = series.index.to_numpy(dtype=np.int64).tolist()
    return dict(zip(folds, series.to_list(), strict=True))
