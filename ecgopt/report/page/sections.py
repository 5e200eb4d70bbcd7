"""The page from top to bottom."""

from ecgopt.analysis.conclude import Conclusions
from ecgopt.report.page.accounts import account_sections
from ecgopt.report.page.figures import figure_sections
from ecgopt.report.page.galleries import MOST_CELLS_DRAWN
from ecgopt.report.page.headline import answer, score_section, verdict_section
from ecgopt.report.page.html import Page, Section


def build_page(conclusions: Conclusions) -> Page:
    """Return the page's content."""
    comparison = conclusions.evidence.comparison
    budget = comparison.budget
    scores = score_section(conclusions)
    return Page(
        name=comparison.name,
        question=comparison.question,
        answer=answer(conclusions),
        rules=(
            f"Each arm of each replicate may spend {budget.trials} trials, pruned and diverged "
            f"ones included. The winner on validation is trained again with {budget.final_seeds} "
            f"fresh seeds and scored once on sealed test patients; {budget.replicates} "
            f"replicate{'s' * (budget.replicates != 1)}. Margin ±{comparison.margin:g} macro "
            f"AUROC, fixed beforehand; {comparison.confidence:.0%} intervals from runs and "
            "patients, verdicts corrected over cells by Holm."
        ),
        sections=[
            verdict_section(conclusions),
            *([scores] if scores else []),
            *_with_note(conclusions, figure_sections(conclusions)),
            *account_sections(conclusions),
        ],
        footer=f"ecgopt {comparison.provenance.get('ecgopt', '')}".strip(),
    )


def _with_note(conclusions: Conclusions, sections: list[Section]) -> list[Section]:
    if len(conclusions.cells) <= MOST_CELLS_DRAWN:
        return sections
    note = Section(
        name="figures",
        title="Figures",
        paragraphs=(
            f"Figures per cell show {MOST_CELLS_DRAWN} of {len(conclusions.cells)} cells, evenly "
            "spread over the comparison's order; the tables hold all.",
        ),
    )
    return [note, *sections]
