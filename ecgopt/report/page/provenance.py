"""Where every number of the page comes from: versions, data, splits, seeds and the study file."""

import json
from collections.abc import Mapping
from typing import Any

from ecgopt.analysis.conclude import Conclusions
from ecgopt.evidence.records import DATA_SETS
from ecgopt.report import words
from ecgopt.report.page.html import PageTable, Section


def provenance_section(conclusions: Conclusions) -> Section:
    """Return versions, hashes, devices, splits and the study file itself."""
    return Section(
        name="provenance",
        title="Provenance",
        paragraphs=(
            "Every number on this page can be re-derived from the bundle that ecgopt export "
            "writes, by ecgopt verify, without the database.",
        ),
        tables=tuple(
            table
            for table in (_facts(conclusions), _splits(conclusions), _study_file(conclusions))
            if table.rows
        ),
    )


def _facts(conclusions: Conclusions) -> PageTable:
    comparison = conclusions.evidence.comparison
    devices = {
        str(trial.details["device"])
        for study in conclusions.evidence.studies
        for trial in study.trials
        if trial.details.get("device")
    }
    facts = {
        **{name: v for name, v in comparison.provenance.items() if name != DATA_SETS},
        **{f"extension {n}": text for n, text in enumerate(comparison.extensions, 1)},
        **({"devices": ", ".join(sorted(devices))} if devices else {}),
        **({"seed": str(comparison.spec["seed"])} if "seed" in comparison.spec else {}),
        "space fingerprint": comparison.space.get("fingerprint", words.MISSING),
        **{
            f"pre-training {found.key}": words.pretraining(found)
            for found in conclusions.evidence.pretrainings
        },
    }
    return PageTable(
        title="",
        columns=("", ""),
        rows=tuple((name, _plain(value)) for name, value in facts.items()),
        text_columns=frozenset({0, 1}),
    )


def _splits(conclusions: Conclusions) -> PageTable:
    """Return the splits, one row each: all arms of a replicate share theirs."""
    rows = {
        (
            study.downstream,
            f"{study.n_train:,}",
            str(study.replicate),
            _division(study.split),
            _plain(study.split.get("fingerprint", words.MISSING)),
            ", ".join(study.split.get("left_out_of_validation", ())) or words.MISSING,
        )
        for study in conclusions.evidence.studies
        if study.split
    }
    return PageTable(
        title="Splits; all arms of a replicate share theirs",
        columns=("data", "n", "replicate", "records for training and validation",
                 "hash of the records", "labels not in validation"),
        rows=tuple(sorted(rows, key=lambda row: (row[0], int(row[1].replace(",", "")), row[2]))),
        text_columns=frozenset({0, 3, 4, 5}),
        is_folded=True,
    )  # fmt: skip


def _division(split: Mapping[str, Any]) -> str:
    if "n_folds" in split:
        return (
            f"{split['n_folds']}-fold cross-validation over the {split['n_labelled']:,} labelled "
            "records"
        )
    n_train, n_validation = (split.get(name) for name in ("n_train", "n_validation"))
    if n_train is None or n_validation is None:
        return words.MISSING
    return f"{n_train:,} and {n_validation:,}"


def _study_file(conclusions: Conclusions) -> PageTable:
    return PageTable(
        title="The study file, defaults filled in",
        columns=("key", "value"),
        rows=tuple(
            (name, _plain(value)) for name, value in conclusions.evidence.comparison.spec.items()
        ),
        text_columns=frozenset({0, 1}),
        is_folded=True,
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
