"""The page's first part: the verdict per cell, in words and in one table."""

from collections import Counter
from collections.abc import Sequence

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import CellConclusion, Conclusions
from ecgopt.analysis.scores import ArmScores
from ecgopt.analysis.verdict import Decision
from ecgopt.evidence.records import FinalRole
from ecgopt.report import words
from ecgopt.report.page.html import PageTable, Section
from ecgopt.training.metrics import Metric, chosen_metrics

MOST_ROWS_SHOWN = 16
MOST_SENTENCES = 8


def answer(conclusions: Conclusions) -> str:
    """Return the verdict over all cells in one sentence."""
    found = [comparison for cell in conclusions.cells for comparison in cell.comparisons]
    if len(found) == 1:
        return words.verdict_sentence(found[0])
    if interim := [item for item in found if item.decision is Decision.INTERIM]:
        n_present = sum(len(item.differences) for item in found)
        return (
            f"Interim: {len(interim)} of {len(found)} comparisons wait for planned work "
            f"({n_present} of {sum(item.n_planned for item in found)} pairs are there); they have "
            "no verdict."
        )
    counts = Counter(words.verdict_of(item) for item in found)
    if len(counts) == 1:
        return f"All {len(found)} comparisons: {next(iter(counts))}."
    parts = [f"{verdict} in {count}" for verdict, count in counts.most_common()]
    return f"Of {len(found)} comparisons: {', '.join(parts)}."


def pooled_sentences(conclusions: Conclusions) -> list[str]:
    """Return what all cells say together, a sentence per regime."""
    reference = words.regime_name(conclusions.evidence.comparison.regimes[0])
    return [
        f"Over {pooled.n_targets} targets together, {words.regime_name(pooled.regime)} minus "
        f"{reference} is {words.signed(pooled.estimate)} "
        f"{words.interval(pooled.low, pooled.high)} ({pooled.method}); the true differences of "
        f"targets vary with a standard deviation of {words.score(pooled.between_targets)}."
        for pooled in conclusions.pooled
    ]


def verdict_section(conclusions: Conclusions) -> Section:
    """Return the verdicts with their table and forest plot."""
    found = [comparison for cell in conclusions.cells for comparison in cell.comparisons]
    caveats = Counter(caveat for item in found for caveat in item.judgement.caveats)
    sentences = [
        f"{words.cell_label(item.cell, conclusions, item.regime)}. {words.verdict_sentence(item)}"
        for item in found
    ]
    from ecgopt.report.figures.forest import draw_forest

    drawing = draw_forest(conclusions)
    return Section(
        name="verdicts",
        title="Verdicts",
        points=tuple(sentences) if 1 < len(sentences) <= MOST_SENTENCES else (),
        paragraphs=(
            *pooled_sentences(conclusions),
            *(_caveat(caveat, count, len(found)) for caveat, count in caveats.items()),
        ),
        tables=(_verdict_table(conclusions), _spread_table(conclusions)),
        drawings=(drawing,) if drawing else (),
    )


def _caveat(caveat: str, count: int, n_cells: int) -> str:
    where = "" if count == n_cells else f" ({count} of {n_cells} comparisons)"
    return f"Note{where}: {caveat}."


def _verdict_table(conclusions: Conclusions) -> PageTable:
    reference, *others = map(words.regime_name, conclusions.evidence.comparison.regimes)
    arm = others[0] if len(others) == 1 else "arm"
    has_published = any(cell.published and cell.published[0].interval for cell in conclusions.cells)
    published = (f"published {reference}", f"published {arm}") if has_published else ()
    rows = tuple(
        _verdict_row(conclusions, cell, found, has_published=has_published)
        for cell in conclusions.cells
        for found in cell.comparisons
    )
    name = ("arm",) if len(others) > 1 else ()
    columns = ("cell", *name, "verdict", "difference", *published, f"tuned {reference}",
               f"tuned {arm}", "p, Holm", "pairs won", "to decide")  # fmt: skip
    return PageTable(
        title="Test macro AUROC, means over replicates and seeds",
        columns=columns,
        rows=rows,
        text_columns=frozenset({0, 1, len(name) + 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def _verdict_row(
    conclusions: Conclusions, cell: CellConclusion, found: CellComparison, *, has_published: bool
) -> tuple[str, ...]:
    reference, arm = cell.arms[found.reference], cell.arms[found.regime]
    roles: Sequence[FinalRole] = ("published", "tuned") if has_published else ("tuned",)
    scores = [words.score(each.test_score(role)) for role in roles for each in (reference, arm)]
    interval, corrected = found.interval, found.judgement.corrected
    has_arms = len(conclusions.evidence.comparison.regimes) > 2
    return (
        words.cell_label(cell.cell, conclusions),
        *([words.regime_name(found.regime)] if has_arms else []),
        words.verdict_of(found),
        words.difference(interval) if interval else words.MISSING,
        *scores,
        words.p_value(corrected.difference) if corrected else words.MISSING,
        f"{found.share_won:.0%}" if interval else words.MISSING,
        _to_decide(found),
    )


def _to_decide(found: CellComparison) -> str:
    if found.decision is not Decision.UNDECIDED or found.interval is None:
        return words.MISSING
    if found.n_replicates <= 2:
        return "replicates"
    if found.judgement.further_replicates is None:
        return "not by replicates"
    return f"+{words.further_replicates(found)} repl."


def _spread_table(conclusions: Conclusions) -> PageTable:
    seeds = conclusions.evidence.comparison.budget.final_seeds
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions, found.regime),
            *(
                words.score(part, digits=4)
                for part in (
                    interval.variances.seeds,
                    interval.variances.replicates,
                    interval.variances.patients,
                    interval.error.standard_error,
                )
            ),
            f"{interval.error.freedom:.1f}",
            f"{found.n_replicates} of {found.n_planned // seeds}",
            f"{len(found.differences)} of {found.n_planned}",
            f"{interval.overlap:.0%}",
            f"{interval.error.n_patients:,}",
        )
        for cell in conclusions.cells
        for found in cell.comparisons
        if (interval := found.interval) is not None
    )
    return PageTable(
        title="What the difference varies by, as standard deviations",
        columns=(
            "cell",
            "between seeds",
            "between replicates",
            "patients, of the mean",
            "error of the mean",
            "degrees of freedom",
            "replicates",
            "pairs",
            "of the pool",
            "test patients",
        ),
        rows=rows,
        text_columns=frozenset({0}),
        is_folded=True,
    )


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
        "are, so the score of a predictor that knows nothing of the record stands beside them."
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
