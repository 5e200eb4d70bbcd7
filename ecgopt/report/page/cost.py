"""What the page says about cost: when pre-training pays, and the arms at equal spend."""

from ecgopt.analysis.conclude import Conclusions
from ecgopt.report import words
from ecgopt.report.figures import cost, pareto
from ecgopt.report.page.galleries import MOST_ROWS_SHOWN, gallery
from ecgopt.report.page.html import PageTable, Section


def cost_section(conclusions: Conclusions) -> Section | None:
    """Return the section; None before any trial."""
    galleries = gallery(conclusions, "When transfer pays", cost.CAPTION, cost.draw_cost)
    if not galleries:
        return None
    return Section(
        name="cost",
        title="Cost",
        tables=tuple(
            table
            for table in (
                _score_and_cost(conclusions),
                _break_even(conclusions),
                _equal_spend(conclusions),
            )
            if table.rows
        ),
        galleries=(
            *gallery(
                conclusions, "Arms by score and cost", pareto.ARMS_CAPTION, pareto.draw_arm_trades
            ),
            *galleries,
        ),
    )


def _score_and_cost(conclusions: Conclusions) -> PageTable:
    score = f"test {words.metric(conclusions.evidence.comparison)}"
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions),
            words.regime_name(trade.regime),
            words.duration(trade.seconds),
            f"{trade.samples:,}",
            words.score(trade.score),
            "no arm" if trade.is_on_front else "another arm",
        )
        for cell in conclusions.cells
        for trade in cell.trades
    )
    return PageTable(
        title="What one target costs with tuning, final fits and pre-training, and what it scores",
        columns=("cell", "arm", "training time", "samples", score, "beaten by"),
        rows=rows,
        text_columns=frozenset({0, 1, 5}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def _break_even(conclusions: Conclusions) -> PageTable:
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions, regime),
            *(
                "never" if count is None else f"{count:,}"
                for count in (even.seconds, even.epochs, even.samples)
            ),
        )
        for cell in conclusions.cells
        for regime, even in cell.break_even.items()
        if cell.arms[regime].cost.pretraining.epochs
    )
    return PageTable(
        title="Targets after which pre-training pays for itself, tuning and final fits included",
        columns=("cell", "in seconds", "in epochs", "in samples"),
        rows=rows,
        text_columns=frozenset({0}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def _equal_spend(conclusions: Conclusions) -> PageTable:
    regimes = conclusions.evidence.comparison.regimes
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions),
            f"{found.limit:,.0f} epochs" if found.unit == "epochs" else words.duration(found.limit),
            *(words.score(found.best[regime]) for regime in regimes),
        )
        for cell in conclusions.cells
        for found in cell.equal_spend
    )
    return PageTable(
        title="Best validation macro AUROC when every arm stops at the cheapest one's spend",
        columns=("cell", "spend of tuning", *map(words.regime_name, regimes)),
        rows=rows,
        text_columns=frozenset({0, 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )
