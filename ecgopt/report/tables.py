"""The report's tables as plain rows, and the forms they are written in."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow
import pyarrow.parquet

from ecgopt.analysis.arms import TrialCounts
from ecgopt.analysis.conclude import ArmConclusion, CellConclusion, Conclusions
from ecgopt.evidence.records import FinalEvidence, StudyEvidence
from ecgopt.report import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; values keep their type, so a CSV has full precision."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def to_csv(self) -> str:
        """Return the table as CSV with a heading line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(["" if value is None else value for value in row] for row in self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """Return the table as a JSON array of objects; NaN and infinity become null."""
        objects = [
            {name: _finite(value) for name, value in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]
        return json.dumps(objects, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_parquet(self) -> bytes:
        """Return the table as a Parquet file."""
        columns = {
            name: [row[index] for row in self.rows] for index, name in enumerate(self.columns)
        }
        data = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), data)
        return data.getvalue()


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


HEADLINE_COLUMNS = (
    "upstream", "downstream", "model", "n", "published reference", "published", "reference",
    "tuned reference", "regime", "tuned", "difference", "low", "high", "verdict", "replicates",
    "pairs", "planned pairs", "p (Holm)", "further replicates",
)  # fmt: skip


def headline_table(conclusions: Conclusions) -> Table:
    """Return one row per cell and regime: published and tuned scores, difference, verdict."""
    rows = []
    for cell in conclusions.cells:
        for found in cell.comparisons:
            reference, arm = cell.arms[found.reference], cell.arms[found.regime]
            interval = found.interval
            rows.append(
                (
                    cell.cell.upstream,
                    cell.cell.downstream,
                    cell.cell.model,
                    cell.cell.n_train,
                    reference.test_score("published"),
                    arm.test_score("published"),
                    found.reference,
                    reference.test_score(),
                    found.regime,
                    arm.test_score(),
                    interval and interval.estimate,
                    interval and interval.low,
                    interval and interval.high,
                    words.verdict_of(found),
                    found.n_replicates,
                    len(found.differences),
                    found.n_planned,
                    found.judgement.corrected and found.judgement.corrected.difference,
                    found.judgement.further_replicates and words.further_replicates(found),
                )
            )
    return Table(name="verdicts", title="Verdicts", columns=HEADLINE_COLUMNS, rows=tuple(rows))


def labels_table(conclusions: Conclusions) -> Table:
    """Return the AUROCs and the difference per label, arm and cell."""
    rows = tuple(
        (
            found.cell.upstream, found.cell.downstream, found.cell.model, found.cell.n_train,
            found.reference, found.regime, found.label, found.n_positives, *found.scores,
            found.interval.estimate, found.interval.low, found.interval.high, found.p_difference,
            words.verdict_of(found),
        )
        for found in conclusions.labels
    )  # fmt: skip
    columns = (
        "upstream", "downstream", "model", "n", "reference", "regime", "label",
        "positive patients", "auroc of reference", "auroc", "difference", "low", "high",
        "p (Holm)", "verdict",
    )  # fmt: skip
    return Table(name="labels", title="Per label", columns=columns, rows=rows)


def subgroups_table(conclusions: Conclusions) -> Table:
    """Return the macro AUROCs and the difference by sex and age group, per arm and cell."""
    rows = tuple(
        (
            found.cell.upstream, found.cell.downstream, found.cell.model, found.cell.n_train,
            found.reference, found.regime, found.by, found.group, found.n_patients,
            found.n_labels, ", ".join(found.left_out),
            *(
                value
                for score in found.scores
                for value in (score.estimate, score.low, score.high)
            ),
            found.interval.estimate, found.interval.low, found.interval.high, found.p_difference,
            words.verdict_of(found),
        )
        for found in conclusions.subgroups.comparisons
    )  # fmt: skip
    columns = (
        "upstream", "downstream", "model", "n", "reference", "regime", "by", "group", "patients",
        "labels", "labels left out", "macro auroc of reference", "low of reference",
        "high of reference", "macro auroc", "low of arm", "high of arm", "difference", "low",
        "high", "p (Holm)", "verdict",
    )  # fmt: skip
    return Table(name="subgroups", title="By sex and age", columns=columns, rows=rows)


def ranking_tables(conclusions: Conclusions) -> list[Table]:
    """Return the arms in the order of their mean rank, and each pair; none for two arms."""
    ranking = conclusions.ranking
    if ranking is None:
        return []
    arms = tuple(
        (each.regime, each.mean_rank, each.n_first, ranking.n_cells, each.mean_score)
        for each in ranking.arms
    )
    pairs = tuple(
        (
            each.regime, each.reference, each.win_probability, each.estimate, each.p_difference,
            each.p_difference_holm,
        )
        for each in ranking.pairs
    )  # fmt: skip
    return [
        Table(
            name="ranking",
            title="Ranking",
            columns=("regime", "mean rank", "cells first", "cells", "test macro auroc"),
            rows=arms,
        ),
        Table(
            name="wins",
            title="Pairwise win probability",
            columns=("regime", "against", "win probability", "difference", "p", "p (Holm)"),
            rows=pairs,
        ),
    ]


def trials_table(studies: Sequence[StudyEvidence]) -> Table:
    """Return every trial of every study, pruned and failed ones too."""
    names = sorted({name for s in studies for t in s.trials for name in t.parameters})
    columns = (
        "study", "regime", "model", "replicate", "trial", "recipe", "state", "cause", "validation",
        "trained_epochs", "seconds", "samples", *names,
    )  # fmt: skip
    rows = tuple(
        (
            study.study, study.regime, study.model, study.replicate, trial.number, trial.recipe,
            trial.state, trial.cause, trial.value, trial.n_epochs, trial.seconds, trial.n_samples,
            *(trial.parameters.get(name) for name in names),
        )
        for study in studies
        for trial in study.trials
    )  # fmt: skip
    return Table(name="trials", title="Trials", columns=columns, rows=rows)


def finals_table(finals: Sequence[FinalEvidence]) -> Table:
    """Return every final fit with its test scores."""
    metrics = list(dict.fromkeys(name for final in finals for name in final.metrics))
    columns = (
        "study", "regime", "model", "replicate", "role", "seed_index", "seed", "trial", "epochs",
        "seconds", *metrics,
    )  # fmt: skip
    rows = tuple(
        (
            final.study, final.regime, final.model, final.replicate, final.role, final.seed_index,
            final.seed, final.trial_number, final.n_epochs, final.seconds,
            *(final.metrics.get(name) for name in metrics),
        )
        for final in finals
    )  # fmt: skip
    return Table(name="finals", title="Final fits", columns=columns, rows=rows)


def counts_table(conclusions: Conclusions) -> Table:
    """Return how the budget's trials ended, per cell and regime."""
    rows = tuple(
        (
            *_place(cell, arm),
            regime,
            *(getattr(arm.counts, name) for name in _COUNTS),
            arm.counts.total,
        )
        for cell, regime, arm in _arms(conclusions)
    )
    columns = ("upstream", "downstream", "model", "n", "regime", *_COUNTS, "total")
    return Table(name="counts", title="How trials ended", columns=columns, rows=rows)


_COUNTS = tuple(TrialCounts.__dataclass_fields__)


def cost_table(conclusions: Conclusions) -> Table:
    """Return seconds, epochs and samples per cell, regime and line of the ledger."""
    rows = []
    for cell, regime, arm in _arms(conclusions):
        for line in ("pretraining", "tuning", "finals", "beside_budget"):
            cost = getattr(arm.cost, line)
            rows.append((*_place(cell, arm), regime, line, cost.seconds, cost.epochs, cost.samples))
    columns = ("upstream", "downstream", "model", "n", "regime", "line", "seconds", "epochs",
               "samples")  # fmt: skip
    return Table(name="cost", title="Cost", columns=columns, rows=tuple(rows))


def all_tables(conclusions: Conclusions) -> list[Table]:
    """Return every table that a report writes."""
    evidence = conclusions.evidence
    made = (headline_table, labels_table, subgroups_table, counts_table, cost_table)
    tables = [table(conclusions) for table in made]
    tables += ranking_tables(conclusions)
    return [*tables, finals_table(evidence.finals), trials_table(evidence.studies)]


def _arms(conclusions: Conclusions) -> Iterator[tuple[CellConclusion, str, ArmConclusion]]:
    for cell in conclusions.cells:
        for regime, arm in cell.arms.items():
            yield cell, regime, arm


def _place(cell: CellConclusion, arm: ArmConclusion) -> Sequence[object]:
    key = cell.cell
    return (key.upstream, key.downstream, arm.arm.network, key.n_train)
