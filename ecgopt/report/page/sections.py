"""The page from top to bottom."""

from dataclasses import replace

from ecgopt.analysis.conclude import Conclusions
from ecgopt.evidence.records import Comparison
from ecgopt.report import words
from ecgopt.report.page.accounts import account_sections
from ecgopt.report.page.figures import figure_sections
from ecgopt.report.page.galleries import MOST_CELLS_DRAWN
from ecgopt.report.page.headline import answer, score_section, verdict_section
from ecgopt.report.page.html import Page, PageTable, Section


def build_page(conclusions: Conclusions) -> Page:
    """Return the page's content."""
    comparison = conclusions.evidence.comparison
    budget = comparison.budget
    scores = score_section(conclusions)
    sections = [
        verdict_section(conclusions),
        *([scores] if scores else []),
        *_with_note(conclusions, figure_sections(conclusions)),
        *account_sections(conclusions),
    ]
    is_single = len(conclusions.cells) == 1
    looks = words.looks(comparison, conclusions.level_left)
    return Page(
        name=comparison.name,
        place=words.shared_by_cells(conclusions),
        question=comparison.question,
        answer=answer(conclusions),
        rules=(
            f"Each arm of each replicate may spend {budget.trials} trials, pruned and diverged "
            f"ones included. {_selection(comparison)} is trained again on all n records with "
            f"{budget.final_seeds} fresh seeds and scored once on sealed test patients; "
            f"{words.replicates(comparison)}. Margin ±{comparison.margin:g} macro AUROC, fixed "
            f"beforehand; {comparison.confidence:.0%} intervals from runs and patients, verdicts "
            "corrected over cells by Holm."
            + (f" {looks[0].upper()}{looks[1:]}." if looks else "")
            + "".join(f" The budget was extended: {text}." for text in comparison.extensions)
        ),
        sections=[_without_cell(section) for section in sections] if is_single else sections,
        footer=f"ecgopt {comparison.provenance.get('ecgopt', '')}".strip(),
    )


def _selection(comparison: Comparison) -> str:
    n_folds = comparison.spec.get("validation_folds", 1)
    if n_folds == 1:
        return "The winner on validation"
    return f"The winner of {n_folds}-fold cross-validation over the labelled records"


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


def _without_cell(section: Section) -> Section:
    """Return the section without the column that names the only cell in every row."""
    return replace(section, tables=tuple(_without_label(table) for table in section.tables))


def _without_label(table: PageTable) -> PageTable:
    if not table.columns or table.columns[0] != "cell" or len({row[0] for row in table.rows}) != 1:
        return table
    return replace(
        table,
        columns=table.columns[1:],
        rows=tuple(row[1:] for row in table.rows),
        text_columns=frozenset(index - 1 for index in table.text_columns if index),
    )
