"""The page from top to bottom."""

from collections.abc import Sequence
from dataclasses import replace

from ecgopt.analysis.conclude import Conclusions
from ecgopt.evidence.records import Comparison
from ecgopt.report import words
from ecgopt.report.page.accounts import account_sections
from ecgopt.report.page.context import data_section, facts_line, words_section
from ecgopt.report.page.figures import figure_one_section, figure_sections
from ecgopt.report.page.galleries import MOST_CELLS_DRAWN, MOST_ROWS_SHOWN
from ecgopt.report.page.headline import answer, gate_sentence, grounds_section, verdict_section
from ecgopt.report.page.html import Page, PageTable, Section
from ecgopt.report.page.ranking import ranking_section
from ecgopt.report.page.scores import diagnosis_section, score_section, subgroup_section


def build_page(conclusions: Conclusions) -> Page:
    """Return the page's content."""
    comparison = conclusions.evidence.comparison
    figures, accounts = figure_sections(conclusions), account_sections(conclusions)
    sizes = [section for section in figures if section.name == "size"]
    # A long table would fill the printed pages, from which details are left out.
    has_many_groups = len(conclusions.subgroups.comparisons) > MOST_ROWS_SHOWN
    sections = [
        verdict_section(conclusions),
        figure_one_section(conclusions),
        *sizes,
        diagnosis_section(conclusions),
        None if has_many_groups else subgroup_section(conclusions),
        data_section(conclusions),
        words_section(),
    ]
    details = [
        grounds_section(conclusions),
        subgroup_section(conclusions) if has_many_groups else None,
        ranking_section(conclusions),
        score_section(conclusions),
        *_with_note(conclusions, [section for section in figures if section.name != "size"]),
        *accounts,
    ]
    is_single = len(conclusions.cells) == 1
    return Page(
        name=comparison.name,
        place=words.shared_by_cells(conclusions),
        question=comparison.question,
        answer=answer(conclusions),
        rules=_rules(conclusions),
        checks=gate_sentence(conclusions),
        has_failed_checks=any(gate.state == "failed" for gate in conclusions.gates),
        facts=facts_line(conclusions.evidence),
        sections=_present(sections, is_single=is_single),
        details=_present(details, is_single=is_single),
        footer=(
            f"ecgopt {comparison.provenance.get('ecgopt', '')}".strip()
            + f". The published study is {words.PAPER}."
        ),
    )


def _present(sections: Sequence[Section | None], *, is_single: bool) -> list[Section]:
    found = [section for section in sections if section is not None]
    return [_without_cell(section) for section in found] if is_single else found


def _rules(conclusions: Conclusions) -> str:
    comparison = conclusions.evidence.comparison
    budget, looks = comparison.budget, words.looks(comparison, conclusions.level_left)
    seeds = f"{budget.final_seeds} fresh seed{'s' * (budget.final_seeds != 1)}"
    starts = words.arm_starts(comparison)
    return (
        (f"{starts} " if starts else "")
        + f"Each arm of each replicate may spend {budget.trials} trials, pruned and diverged ones "
        f"included; trial 0 is the recipe of {words.PAPER}. {_selection(comparison)} is trained "
        f"again on all n records with {seeds}, and each such network is scored exactly once on "
        f"sealed test patients, by which nothing was chosen; {words.replicates(comparison)}. "
        f"Verdicts rest on the test {words.metric(comparison)}, the choice of winners on "
        f"validation macro AUROC. Margin ±{comparison.margin:g}, fixed beforehand. "
        f"{comparison.confidence:.0%} intervals cover the variation between runs and between "
        "patients; verdicts are corrected over cells by Holm."
        + (f" {words.capital(looks)}." if looks else "")
        + "".join(f" The budget was extended: {text}." for text in comparison.extensions)
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
