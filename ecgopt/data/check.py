"""What there is to know, and to worry about, in a prepared data set."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool

from ecgopt.data.label_classes import LabelSet
from ecgopt.data.lead_check import (
    AMPLITUDES_MICROVOLTS,
    HEART_RATES_BPM,
    MOST_MISFIT,
    LeadFacts,
    lead_facts,
)
from ecgopt.data.overlap import finding_of
from ecgopt.data.prepared import PreparedSet
from ecgopt.data.records import NO_FINDING
from ecgopt.data.same_patients import copied_rows, copies_within

if TYPE_CHECKING:
    import pandas as pd

_FEW_PATIENTS = 20
"""A class with fewer patients gives a noisy measure."""
_MANY_RECORDS = 50
"""A patient with more records is probably a placeholder, such as `unknown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One thing to look at before the set is trusted."""

    level: Literal["error", "warning", "note"]
    """Error: the whole set is probably read wrongly; note: worth knowing."""
    topic: str
    text: str
    records: tuple[str, ...] = ()
    """The records concerned, the worst first where one is worse than another."""


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
    positive_patients: Mapping[str, int]
    """Patients per class."""
    unlabelled: int
    """Records that carry no class of the label set."""
    without_statement: int
    """Records for which no statement is published: what they have is unknown."""
    ages_years: tuple[float, float, float] | None
    """Least, median and greatest age; None where no age is stated."""
    without_age: int
    without_sex: int
    sampling_rates_hz: Mapping[float, int]
    """Sampling rates of the files, to the records that have them."""
    unused_codes: Mapping[str, int]
    """Statements that no class of the label set uses, to the records that have them."""
    absent_codes: tuple[str, ...]
    """Codes of the label set that no record has."""
    doubts: tuple[Doubt, ...]


def check(
    prepared: PreparedSet, label_set: LabelSet, *, others: Sequence[PreparedSet] = ()
) -> DataCheck:
    """Return the counts of `prepared` under `label_set`, and what is doubtful.

    Args:
        prepared: The set; all its signals are read.
        label_set: Its classes.
        others: Sets that may hold copies of its records.
    """
    records = prepared.records
    labels = prepared.labels(label_set)
    folded = records.dropna(subset=["fold"])
    by_fold = folded.groupby("fold", sort=True)
    folds_of_patient = folded.groupby("patient")["fold"].nunique()
    patients = records["patient"].to_numpy()
    codes = Counter(code for listed in records["statement_codes"] for code in listed)
    ages = records["age_years"].dropna()
    found = DataCheck(
        counts=dict(prepared.manifest["counts"]),
        dropped_reasons=dict(prepared.manifest["dropped_reasons"]),
        patients=int(records["patient"].nunique()),
        without_patient=int((~records["patient_published"]).sum()),
        records_per_fold=_by_fold(by_fold["record"].count()),
        patients_per_fold=_by_fold(by_fold["patient"].nunique()),
        patients_in_several_folds=int((folds_of_patient > 1).sum()),
        positives=dict(zip(label_set.classes, labels.sum(axis=0).tolist(), strict=True)),
        positive_patients={
            name: len(np.unique(patients[labels[:, column]]))
            for column, name in enumerate(label_set.classes)
        },
        unlabelled=int((~labels.any(axis=1)).sum()),
        without_statement=int((records["statement_codes"].map(len) == 0).sum()),
        ages_years=(float(ages.min()), float(ages.median()), float(ages.max()))
        if len(ages)
        else None,
        without_age=int(records["age_years"].isna().sum()),
        without_sex=int(records["sex"].isna().sum()),
        sampling_rates_hz=dict(Counter(records["sampling_rate_hz"].tolist()).most_common()),
        unused_codes=unused_codes(prepared, [label_set]),
        absent_codes=tuple(code for code in label_set.members if code not in codes),
        doubts=(),
    )
    leads = lead_facts(prepared.signals, prepared.sampling_rate_hz)
    doubts = [
        *_doubts_of_leads(records, leads),
        *_doubts_of_signals(records, leads),
        *_doubts_of_people(records, found),
        *_doubts_of_labels(found),
        *_copies(prepared, others),
    ]
    doubts.sort(key=lambda doubt: ("error", "warning", "note").index(doubt.level))
    return replace(found, doubts=tuple(doubts))


def unused_codes(prepared: PreparedSet, label_sets: Sequence[LabelSet]) -> dict[str, int]:
    """Return the statements that no class of any label set uses, to their number of records."""
    codes = Counter(code for listed in prepared.records["statement_codes"] for code in listed)
    used = {NO_FINDING, *(code for each in label_sets for code in each.members)}
    return {code: n for code, n in codes.most_common() if code not in used}


def unused_in_words(unused: Mapping[str, int], label_sets: Sequence[str] = ()) -> str:
    """Return the result of `unused_codes` as a line, with the names of the label sets."""
    listed = ", ".join(f"{_in_words(code)} ({n})" for code, n in list(unused.items())[:10])
    more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
    of_sets = f" of {', '.join(label_sets)}" if label_sets else ""
    return f"statements that no class{of_sets} uses: {listed}{more}"


def _by_fold(series: "pd.Series[int]") -> dict[int, int]:
    folds = series.index.to_numpy(dtype=np.int64).tolist()
    return dict(zip(folds, series.to_list(), strict=True))


def _chosen(
    records: "pd.DataFrame", which: Bool[np.ndarray, " record"], worst: np.ndarray | None = None
) -> tuple[str, ...]:
    """Return the names of the records chosen, those with the largest `worst` first."""
    rows = np.flatnonzero(which)
    if worst is not None:
        rows = rows[np.argsort(-worst[rows], kind="stable")]
    return tuple(records["record"].to_numpy()[rows].tolist())


def _doubts_of_leads(records: "pd.DataFrame", leads: LeadFacts) -> Iterator[Doubt]:
    misfits = leads.misfit > MOST_MISFIT
    for remedy, count in Counter(leads.remedy[misfits].tolist()).most_common():
        names = _chosen(records, misfits & (leads.remedy == remedy), leads.misfit)
        few = count < len(records) / 2
        advice = f": they would with {remedy}" if remedy else ": a lead is noise or another one"
        yield Doubt(
            level="warning" if few else "error",
            topic="leads",
            text=f"{count} records have limb leads that break Goldberger's relations{advice}",
            records=names,
        )
    if leads.swapped_arms.any():
        yield Doubt(
            level="warning" if leads.swapped_arms.mean() < 0.5 else "error",
            topic="leads",
            text=f"{leads.swapped_arms.sum()} records have lead I upside down and aVR upright, as "
            "with the arms' electrodes exchanged",
            records=_chosen(records, leads.swapped_arms),
        )


def _doubts_of_signals(records: "pd.DataFrame", leads: LeadFacts) -> Iterator[Doubt]:
    low, high = AMPLITUDES_MICROVOLTS
    amplitude = float(np.median(leads.amplitude))
    odd = (leads.amplitude < low) | (leads.amplitude > high)
    if odd.any():
        many = odd.mean() > 0.5
        yield Doubt(
            level="error" if many else "warning",
            topic="amplitude",
            text=f"{odd.sum()} records have leads that span less than {low / 1000:g} or more than "
            f"{high / 1000:g} mV (the set's median is {amplitude / 1000:.3g} mV)"
            + (": the unit or gain in the files is wrong" if many else ""),
            records=_chosen(records, odd, np.abs(np.log(np.maximum(leads.amplitude, 1) / 1000))),
        )
    rates = leads.heart_rate_bpm[np.isfinite(leads.heart_rate_bpm)]
    if len(rates) >= _FEW_PATIENTS and not (
        HEART_RATES_BPM[0] <= np.median(rates) <= HEART_RATES_BPM[1]
    ):
        yield Doubt(
            level="error",
            topic="sampling",
            text=f"the median heart rate is {np.median(rates):.0f} beats per minute: the sampling "
            "rate in the files is probably wrong",
        )
    lists = {
        "a flat lead": ("flat_leads", "warning"),
        "a lead that rests at the end of its range": ("saturated_leads", "warning"),
        "samples beyond 32.767 mV": ("clipped_samples", "warning"),
        "missing samples that were interpolated": ("repaired_samples", "note"),
    }
    for what, (column, level) in lists.items():
        size = records[column].to_numpy(dtype=np.float64)
        if (size > 0).any():
            yield Doubt(
                level="warning" if level == "warning" else "note",
                topic="signal",
                text=f"{(size > 0).sum()} records have {what}",
                records=_chosen(records, size > 0, size),
            )


def _doubts_of_people(records: "pd.DataFrame", found: DataCheck) -> Iterator[Doubt]:
    if found.without_patient:
        yield Doubt(
            level="warning",
            topic="patients",
            text=f"{found.without_patient} records have no published patient: each counts as one, "
            "so a person's records may lie on both sides of a split",
        )
    if found.patients_in_several_folds:
        text = f"{found.patients_in_several_folds} patients have records in several folds"
        yield Doubt(level="warning", topic="patients", text=text)
    for patient, count in Counter(records["patient"].tolist()).most_common(3):
        if count > max(_MANY_RECORDS, 0.01 * len(records)):
            yield Doubt(
                level="warning",
                topic="patients",
                text=f"patient {patient} has {count} records: is the name a placeholder?",
                records=_chosen(records, (records["patient"] == patient).to_numpy()),
            )
    for column, what in (("age_years", "age"), ("sex", "sex")):
        missing = records[column].isna().to_numpy()
        if missing.any():
            text = f"{missing.sum()} records have no {what} ({missing.mean():.0%})"
            yield Doubt(level="note", topic=what, text=text, records=_chosen(records, missing))
    newborn = (records["age_years"] == 0).to_numpy()
    if newborn.any() and found.ages_years is not None and found.ages_years[1] > 18:
        yield Doubt(
            level="warning",
            topic="age",
            text=f"{newborn.sum()} records of a set of adults have age 0: is it a placeholder?",
            records=_chosen(records, newborn),
        )


def _doubts_of_labels(found: DataCheck) -> Iterator[Doubt]:
    absent = [name for name, count in found.positives.items() if count == 0]
    if absent:
        yield Doubt(level="warning", topic="classes", text=f"no record is {', '.join(absent)}")
    rare = [
        f"{name} ({count})"
        for name, count in found.positive_patients.items()
        if 0 < count < _FEW_PATIENTS
    ]
    if rare:
        text = f"few patients, so a noisy measure: {', '.join(rare)}"
        yield Doubt(level="note", topic="classes", text=text)
    if found.without_statement:
        yield Doubt(
            level="warning",
            topic="classes",
            text=f"{found.without_statement} records have no statement: a study leaves them out "
            'unless it says unlabelled = "keep", which counts them as negative',
        )
    if found.unused_codes:
        text = unused_in_words(found.unused_codes)
        yield Doubt(level="warning", topic="codes", text=text)
    if found.absent_codes:
        listed = ", ".join(map(_in_words, found.absent_codes[:10]))
        more = f" and {len(found.absent_codes) - 10} more" if len(found.absent_codes) > 10 else ""
        text = f"codes of the classes that no record has: {listed}{more}"
        yield Doubt(level="note", topic="codes", text=text)
    if found.counts["broken"]:
        text = f"{found.counts['broken']} damaged records were left out"
        yield Doubt(level="warning", topic="files", text=text)
    if len(found.sampling_rates_hz) > 1:
        rates = ", ".join(f"{rate:g} Hz ({n})" for rate, n in found.sampling_rates_hz.items())
        yield Doubt(level="note", topic="sampling", text=f"the files have several rates: {rates}")


def _in_words(code: str) -> str:
    finding = finding_of(code)
    return code if finding == code else f"{code} {finding}"


def _copies(prepared: PreparedSet, others: Sequence[PreparedSet]) -> Iterator[Doubt]:
    names = prepared.records["record"].to_numpy()
    pairs = tuple(f"{names[first]}={names[second]}" for first, second in copies_within(prepared))
    if pairs:
        text = f"{len(pairs)} pairs of records are the same recording, perhaps filtered"
        yield Doubt(level="warning", topic="copies", text=text, records=pairs)
    for other in others:
        rows = copied_rows(prepared, other)
        if len(rows):
            yield Doubt(
                level="note",
                topic="copies",
                text=f"{len(rows)} records are in {other.folder.name} too",
                records=tuple(prepared.records["record"].iloc[rows]),
            )
