"""All test scores of the tuned arms, and their AUROC per diagnosis."""

from collections.abc import Sequence
from statistics import fmean

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import ArmConclusion, CellConclusion, Conclusions
from ecgopt.analysis.per_label import LabelComparison
from ecgopt.analysis.scores import ArmScores
from ecgopt.analysis.subgroups import SubgroupComparison
from ecgopt.report import words
from ecgopt.report.page.html import PageTable, Section
from ecgopt.training.metrics import Metric, chosen_metrics

MOST_ROWS_SHOWN = 16


def score_section(conclusions: Conclusions) -> Section | None:
    """Return all test metrics beside the trivial predictors'; None before any final."""
    rows = [
        row
        for cell in conclusions.cells
        for metric in chosen_metrics(conclusions.evidence.comparison.metrics).values()
        if (row := _score_row(conclusions, cell, metric)) is not None
    ]
    if not rows:
        return None
    regimes = [words.regime_name(regime) for regime in conclusions.evidence.comparison.regimes]
    left_out = {
        f"{cell.cell.downstream}: {', '.join(arm.scores.left_out)}"
        for cell in conclusions.cells
        for arm in cell.arms.values()
        if arm.scores is not None and arm.scores.left_out
    }
    paragraphs = [
        "Thresholds come from validation alone. F1 and Brier scores depend on how common labels "
        "are; trivial gives the score of a predictor that ignores the ECG."
    ]
    if left_out:
        paragraphs.append(
            "Labels that too few test patients carry or lack are left out of the macro AUROC: "
            f"{'; '.join(sorted(left_out))}."
        )
    return Section(
        name="scores",
        title="All test scores",
        paragraphs=tuple(paragraphs),
        tables=(
            PageTable(
                title="Means over replicates and seeds, tuned arms",
                columns=("cell", "score", *regimes, "trivial"),
                rows=tuple(rows),
                text_columns=frozenset({0, 1}),
                is_folded=len(rows) > MOST_ROWS_SHOWN,
            ),
        ),
    )


def _score_row(
    conclusions: Conclusions, cell: CellConclusion, metric: Metric
) -> tuple[str, ...] | None:
    scores = [arm.scores for arm in cell.arms.values()]
    values = [each.means.get(metric.name) if each is not None else None for each in scores]
    if all(value is None for value in values):
        return None
    return (
        words.cell_label(cell.cell, conclusions),
        metric.heading,
        *map(words.score, values),
        words.score(_trivial(scores, metric.name)),
    )


def _trivial(scores: Sequence[ArmScores | None], name: str) -> float | None:
    return next((each.trivial[name] for each in scores if each and name in each.trivial), None)


def diagnosis_section(conclusions: Conclusions) -> Section | None:
    """Return the AUROC of each label in every tuned arm; None before any final fit."""
    rows = [
        row
        for cell in conclusions.cells
        for found in cell.comparisons
        for row in _label_rows(conclusions, cell, found)
    ]
    if not rows:
        return None
    comparison = conclusions.evidence.comparison
    reference = words.reference_heading(comparison)
    others = [words.regime_name(regime) for regime in comparison.regimes[1:]]
    return Section(
        name="diagnoses",
        title="Per diagnosis",
        paragraphs=(
            "Test AUROC of each label, means over replicates and seeds. Intervals and verdicts "
            "follow the rule of the macro AUROC, with Holm's correction over all diagnoses, arms "
            "and cells; a label has none where too few test patients carry it or planned work is "
            "missing.",
        ),
        tables=(
            PageTable(
                title="Test AUROC",
                columns=(
                    "cell",
                    "diagnosis",
                    "positives in test",
                    reference,
                    others[0] if len(others) == 1 else "arm",
                    "difference",
                    "interval",
                    "p, Holm",
                    "verdict",
                ),
                rows=tuple(rows),
                text_columns=frozenset({0, 1}),
                is_folded=len(rows) > MOST_ROWS_SHOWN,
            ),
        ),
    )


def label_aurocs(arm: ArmConclusion) -> dict[str, dict[int, float]]:
    """Return label to replicate to the mean test AUROC of its tuned final fits."""
    found: dict[str, dict[int, list[float]]] = {}
    for (replicate, _), final in arm.arm.finals_by_pair("tuned").items():
        for label, value in final.per_label.items():
            if value == value:  # a label without both classes in the test has no AUROC
                found.setdefault(label, {}).setdefault(replicate, []).append(value)
    return {
        label: {replicate: fmean(values) for replicate, values in of_label.items()}
        for label, of_label in found.items()
    }


def _label_rows(
    conclusions: Conclusions, cell: CellConclusion, found: CellComparison
) -> list[tuple[str, ...]]:
    reference, arm = cell.arms[found.reference], cell.arms[found.regime]
    theirs, ours = label_aurocs(reference), label_aurocs(arm)
    positives = reference.scores.positives if reference.scores else {}
    judged = {
        each.label: each
        for each in conclusions.labels
        if (each.cell, each.reference, each.regime) == (cell.cell, found.reference, found.regime)
    }
    rows = []
    for label in theirs:
        paired = theirs[label].keys() & ours.get(label, {}).keys()
        if not paired:
            continue
        differences = [ours[label][replicate] - theirs[label][replicate] for replicate in paired]
        rows.append(
            (
                words.comparison_label(found, conclusions),
                words.with_minus(label),
                f"{positives[label]:,}" if label in positives else words.MISSING,
                *(
                    words.score(fmean(of_label[label][replicate] for replicate in paired))
                    for of_label in (theirs, ours)
                ),
                words.signed(fmean(differences)),
                *_label_verdict(judged.get(label)),
            )
        )
    return rows


def _label_verdict(found: LabelComparison | None) -> tuple[str, str, str]:
    if found is None:
        return words.MISSING, words.MISSING, words.MISSING
    return (
        words.interval(found.interval.low, found.interval.high),
        words.p_value(found.p_difference),
        words.verdict_of(found),
    )


def subgroup_section(conclusions: Conclusions) -> Section | None:
    """Return the macro AUROC by sex and age group; None before all planned final fits are done."""
    found = conclusions.subgroups
    if not (found.comparisons or found.left_out or found.not_recorded):
        return None
    comparison = conclusions.evidence.comparison
    names = [words.regime_name(regime) for regime in comparison.regimes]
    names[0] = words.reference_heading(comparison)
    n_arms = len(names)
    rows = tuple(
        (
            words.comparison_label(each, conclusions),
            f"{words.subgroup(each)} ({_size_of(each)})",
            *map(words.score_interval, each.scores),
            words.difference(each.interval),
            words.verdict_of(each),
        )
        for each in found.comparisons
    )
    table = PageTable(
        title="Test macro AUROC",
        columns=(
            "cell",
            "patients",
            names[0],
            names[1] if n_arms == 2 else "arm",
            "difference",
            "verdict",
        ),
        rows=rows,
        text_columns=frozenset({0, 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )
    paragraphs = []
    if rows:
        paragraphs.append(
            "Test macro AUROC among the patients of each group, over the labels that enough of "
            "them carry and lack: groups differ in their labels, so compare arms within a group. "
            "Intervals and verdicts follow the rule of the whole test, with Holm's correction "
            "over all groups, arms and cells. A verdict in one group and none in another does not "
            "show that the groups differ."
        )
    return Section(
        name="groups",
        title="By sex and age",
        paragraphs=(*paragraphs, *_groups_without_score(conclusions)),
        tables=(table,) if rows else (),
    )


def _size_of(found: SubgroupComparison) -> str:
    n_all = found.n_labels + len(found.left_out)
    labels = f"; {found.n_labels} of {n_all} labels" if found.left_out else ""
    return f"{found.n_patients:,}{labels}"


def _groups_without_score(conclusions: Conclusions) -> list[str]:
    found, least = conclusions.subgroups, conclusions.evidence.comparison.least_positives
    lines = []
    if found.left_out:
        named = [
            f"{words.subgroup(each)} ({each.n_patients:,} patient{'s' * (each.n_patients != 1)} "
            f"of {each.downstream})"
            for each in found.left_out
        ]
        lines.append(
            f"Left out, because no label is carried by {least} of the patients and lacked by "
            f"{least}, or because the group is not known: {', '.join(named)}."
        )
    if found.not_recorded:
        lines.append(
            f"Not recorded: the test predictions of {', '.join(found.not_recorded)} do not hold "
            "sex and age."
        )
    return lines
