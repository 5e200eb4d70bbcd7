"""What the page says, section by section."""

from collections import Counter

from ecgopt.analysis.conclude import Conclusions
from ecgopt.report import words
from ecgopt.report.figures.budget import draw_budget
from ecgopt.report.figures.drawing import Drawing
from ecgopt.report.figures.forest import draw_forest
from ecgopt.report.page.html import Page, PageTable, Section
from ecgopt.report.tables import verdict_columns, verdict_rows

MOST_CELLS_DRAWN = 6
MOST_ROWS_SHOWN = 16
MOST_SENTENCES = 12


def build_page(conclusions: Conclusions) -> Page:
    """Return the page's content."""
    comparison = conclusions.evidence.comparison
    budget = comparison.budget
    return Page(
        name=comparison.name,
        question=comparison.question,
        answer=answer(conclusions),
        rules=(
            f"Each arm of each replicate may spend {budget.trials} trials, pruned and diverged "
            f"ones included. The winner on validation is trained again with {budget.final_seeds} "
            f"fresh seeds and scored once on sealed test patients; {budget.replicates} "
            f"replicate{'s' * (budget.replicates != 1)}. Margin ±{comparison.margin:g} macro "
            f"AUROC, fixed beforehand; intervals {comparison.confidence:.0%}, verdicts corrected "
            "over cells by Holm."
        ),
        sections=[
            section
            for section in (_verdicts(conclusions), _budget(conclusions), _trials(conclusions))
            if section is not None
        ],
        footer=f"ecgopt {comparison.provenance.get('ecgopt', '')}".strip(),
    )


def answer(conclusions: Conclusions) -> str:
    """Return the verdict over all cells in one sentence."""
    found = [comparison for cell in conclusions.cells for comparison in cell.comparisons]
    if len(found) == 1:
        return words.verdict_sentence(found[0])
    counts = Counter(words.verdict_of(item) for item in found)
    parts = [f"{verdict} in {count}" for verdict, count in counts.most_common()]
    return f"Of {len(found)} comparisons: {', '.join(parts)}."


def _verdicts(conclusions: Conclusions) -> Section:
    found = [comparison for cell in conclusions.cells for comparison in cell.comparisons]
    points = [f"{item.cell}: {words.verdict_sentence(item)}" for item in found]
    caveats = dict.fromkeys(caveat for item in found for caveat in item.caveats)
    rows = tuple(verdict_rows(conclusions))
    return Section(
        name="verdicts",
        title="Verdicts",
        points=tuple(points[:MOST_SENTENCES]) if len(points) <= MOST_SENTENCES else (),
        paragraphs=tuple(f"Note: {caveat}." for caveat in caveats),
        tables=(
            PageTable(
                title="Test macro AUROC, mean over replicates and seeds",
                columns=verdict_columns(conclusions),
                rows=rows,
                text_columns=frozenset({0, 1, 3, 9}),
                is_folded=len(rows) > MOST_ROWS_SHOWN,
            ),
        ),
        drawings=_kept(draw_forest(conclusions)),
    )


def _budget(conclusions: Conclusions) -> Section | None:
    drawings = _kept(draw_budget(conclusions.cells[:MOST_CELLS_DRAWN]))
    if not drawings:
        return None
    return Section(name="budget", title="Budget", drawings=drawings)


def _trials(conclusions: Conclusions) -> Section:
    names = ("complete", "pruned", "diverged", "failed", "lost", "set_aside", "unfinished")
    rows = tuple(
        (
            str(cell.cell),
            words.regime_name(regime),
            *(str(getattr(arm.counts, name)) for name in names),
            words.duration(arm.cost.tuning.seconds),
            words.duration(arm.cost.finals.seconds),
            words.duration(arm.cost.pretraining.seconds),
        )
        for cell in conclusions.cells
        for regime, arm in cell.arms.items()
    )
    columns = ("cell", "arm", *(name.replace("_", " ") for name in names), "tuning", "finals",
               "pre-training")  # fmt: skip
    return Section(
        name="trials",
        title="Trials and cost",
        tables=(
            PageTable(
                title="How the budget's trials ended, and what they took",
                columns=columns,
                rows=rows,
                text_columns=frozenset({0, 1}),
                is_folded=len(rows) > MOST_ROWS_SHOWN,
            ),
        ),
    )


def _kept(*drawings: Drawing | None) -> tuple[Drawing, ...]:
    return tuple(drawing for drawing in drawings if drawing is not None)
