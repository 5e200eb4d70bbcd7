"""What a reader must know before the numbers: the data, the words, when and where it ran."""

import datetime
from collections.abc import Mapping
from typing import Any

from ecgopt.analysis.conclude import Conclusions
from ecgopt.evidence.records import DATA_SETS, Evidence
from ecgopt.report import words
from ecgopt.report.page.html import PageTable, Section

WORDS = (
    ("arm", "one of the things compared: a network and how it starts, such as from scratch"),
    ("cell", "one combination of data sets, network and number of labelled records n"),
    ("replicate", "an independent draw of n records, split and search, within a cell"),
    ("trial", "one training run of the search; each arm may spend the same number of them"),
    ("pruned", "ended early because its scores were weak; it still counts as spent"),
    ("winner", "the complete trial of a search with the best validation score"),
    ("final fit", "a winner trained again with a fresh seed and scored on the sealed test"),
    ("sealed test", "patients that no search may use; every use of them is recorded"),
    ("macro AUROC", "area under the ROC curve, averaged over diagnoses; 0.5 is chance"),
    ("margin", "the difference below which two arms count as equivalent, fixed beforehand"),
    ("undecided", "the data are compatible with a relevant difference and with none"),
    ("Holm", "a correction of p values for the number of verdicts in this report"),
)


def words_section() -> Section:
    """Return twelve words, explained."""
    return Section(
        name="words",
        title="Twelve words",
        tables=(
            PageTable(
                title="",
                columns=("word", "meaning here"),
                rows=WORDS,
                text_columns=frozenset({0, 1}),
            ),
        ),
    )


def data_section(conclusions: Conclusions) -> Section | None:
    """Return what the data are; None where neither they nor their test are known."""
    evidence = conclusions.evidence
    described: Mapping[str, Mapping[str, Any]] = evidence.comparison.provenance.get(DATA_SETS, {})
    tests = _tests(conclusions)
    tables = [table for table in (_sets_table(described), _labels_table(described, tests)) if table]
    paragraphs = [
        f"{name}: {facts['title']}"
        + (f", {facts['citation']}" if facts.get("citation") else "")
        + (f"; licence {facts['licence']}" if facts.get("licence") else "")
        + "."
        for name, facts in described.items()
    ]
    paragraphs += [
        f"The sealed test of {name} has {n_records:,} records of {n_patients:,} patients."
        for name, (n_records, n_patients, _) in tests.items()
        if n_records
    ]
    if not tables and not paragraphs:
        return None
    return Section(
        name="data", title="The data", paragraphs=tuple(paragraphs), tables=tuple(tables)
    )


def _tests(conclusions: Conclusions) -> dict[str, tuple[int, int, Mapping[str, int]]]:
    """Return downstream name to records, patients and positives per label of its test."""
    return {
        cell.cell.downstream: (arm.scores.n_records, arm.scores.n_patients, arm.scores.positives)
        for cell in conclusions.cells
        for arm in cell.arms.values()
        if arm.scores is not None
    }


def _sets_table(described: Mapping[str, Mapping[str, Any]]) -> PageTable | None:
    if not described:
        return None
    return PageTable(
        title="Records in use, and records that could not be used",
        columns=("data", "records", "patients", "median age", "female", "dropped"),
        rows=tuple(
            (
                name,
                f"{facts['records']:,}",
                f"{facts['patients']:,}",
                words.MISSING
                if facts["median_age_years"] is None
                else f"{facts['median_age_years']:.0f} years",
                words.MISSING if facts["share_female"] is None else f"{facts['share_female']:.0%}",
                "; ".join(f"{reason}: {n:,}" for reason, n in facts["dropped"].items()) or "none",
            )
            for name, facts in described.items()
        ),
        text_columns=frozenset({0, 5}),
    )


def _labels_table(
    described: Mapping[str, Mapping[str, Any]],
    tests: Mapping[str, tuple[int, int, Mapping[str, int]]],
) -> PageTable | None:
    rows = []
    for name, (n_records, _, positives) in tests.items():
        carriers = described.get(name, {}).get("carriers", {})
        n_all = described.get(name, {}).get("records", 0)
        rows += [
            (
                name,
                words.with_minus(label),
                f"{carriers[label]:,} ({carriers[label] / n_all:.1%})"
                if n_all and label in carriers
                else words.MISSING,
                f"{n:,} ({n / n_records:.1%})",
            )
            for label, n in positives.items()
        ]
    if not rows:
        return None
    return PageTable(
        title="How many records carry each diagnosis",
        columns=("data", "diagnosis", "of all records", "of the sealed test"),
        rows=tuple(rows),
        text_columns=frozenset({0, 1}),
        is_folded=len(rows) > 12,
    )


def facts_line(evidence: Evidence) -> str:
    """Return when the study ran, for how long and on what, as far as it is known."""
    comparison = evidence.comparison
    opened = sorted(opening.opened_at for opening in evidence.openings)
    seconds = (
        sum(trial.seconds for study in evidence.studies for trial in study.trials)
        + sum(final.seconds for final in evidence.finals)
        + sum(pretraining.seconds for pretraining in evidence.pretrainings)
        + sum(check.seconds for check in evidence.checks)
    )
    devices = sorted(
        {
            str(trial.details["device"])
            for study in evidence.studies
            for trial in study.trials
            if trial.details.get("device")
        }
    )
    version = comparison.provenance.get("ecgopt", "")
    commit = str(comparison.provenance.get("commit", ""))[:7]
    parts = [
        f"sealed test opened {_dates(opened[0], opened[-1])}" if opened else "",
        f"{words.duration(seconds)} of training" if seconds else "",
        f"on {words.listed(devices)}" if devices else "",
        f"ecgopt {version}" + (f" ({commit})" if commit and commit != "unknown" else "")
        if version
        else "",
    ]
    said = ", ".join(part for part in parts if part)
    return f"{words.capital(said)}." if said else ""


def _dates(first: str, last: str) -> str:
    begin, end = (datetime.datetime.fromisoformat(moment).date() for moment in (first, last))
    return f"on {begin}" if begin == end else f"{begin} to {end}"
