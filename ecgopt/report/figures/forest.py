"""Every cell's paired difference with its interval, against the margin."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import Conclusions
from ecgopt.analysis.verdict import Decision
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    FAINT,
    GRID,
    INK,
    PAPER,
    Drawing,
    Layout,
    add_legend,
    draw,
)

ROW = 22.0
MOST_SAID = 12
_WIDTH, _NUMBERS = 420.0, 138.0
_LETTER = 5.3
"""Points that a letter of a label takes on average."""
_MARKERS = {
    Decision.HIGHER: ("s", INK),
    Decision.LOWER: ("o", INK),
    Decision.EQUIVALENT: ("D", PAPER),
    Decision.UNDECIDED: ("x", INK),
    Decision.INTERIM: ("o", PAPER),
}
"""Marker and face; the colour stays the ink's, because colours mean arms."""


def compared(conclusions: Conclusions) -> list[CellComparison]:
    """Return the comparisons that have an interval."""
    return [
        comparison
        for cell in conclusions.cells
        for comparison in cell.comparisons
        if comparison.interval is not None
    ]


def draw_forest(conclusions: Conclusions) -> Drawing | None:
    """Return the forest plot of all cells; None while no cell has an interval."""
    found = compared(conclusions)
    if not found:
        return None
    labels = row_labels(found, conclusions)
    said = (
        f"{label}: {words.verdict_sentence(item)}"
        for label, item in zip(labels[:MOST_SAID], found, strict=False)
    )
    widest = max(len(line) for label in labels for line in label.split("\n"))
    return draw(
        name="differences",
        title=f"Difference from {words.reference_heading(conclusions.evidence.comparison)}",
        alt=" ".join(said),
        layout=Layout(
            width=_WIDTH,
            panel_height=max(ROW * len(found), 60.0),
            left=14 + _LETTER * widest,
            right=_NUMBERS,
        ),
        paint=lambda panel: paint_forest(panel, found, labels),
    )


def row_labels(found: Sequence[CellComparison], conclusions: Conclusions) -> list[str]:
    """Return the rows' names; that of an only cell is on the page already."""
    if len(conclusions.cells) == 1:
        return [words.pair_name(item, conclusions.evidence.comparison) for item in found]
    labels = [words.comparison_label(item, conclusions) for item in found]
    return [label if len(label) <= 24 else "\n".join(label.rsplit(", ", 1)) for label in labels]


def paint_forest(panel: Axes, found: Sequence[CellComparison], labels: Sequence[str]) -> None:
    """Draw the margin as one band, and on it a row per comparison with its numbers at the right."""
    margin = found[0].margin
    panel.axvspan(-margin, margin, color=GRID, linewidth=0, zorder=1)
    panel.axvline(0, color=FAINT, linewidth=0.8, zorder=1.1)
    for row, item in enumerate(found):
        interval = item.interval
        assert interval is not None
        panel.plot([interval.low, interval.high], [row, row], color=INK)
        panel.plot(interval.estimate, row, **verdict_look(item))
        panel.annotate(
            words.difference(interval),
            (1.03, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=panel.xaxis.get_ticklabels()[0].get_fontsize(),
        )
    for decision, name in dict.fromkeys((item.decision, words.verdict_of(item)) for item in found):
        panel.plot([], [], label=name, **_look(decision))
    panel.set_ylim(len(found) - 0.4, -0.6)
    panel.set_yticks(range(len(found)), labels)
    panel.tick_params(axis="y", length=0)
    panel.margins(x=0.06)
    panel.grid(visible=False, axis="y")
    panel.set_xlabel(words.difference_label(found))
    panel.spines["left"].set_visible(False)
    add_legend(panel)


def verdict_look(item: CellComparison) -> dict[str, Any]:
    """Return how the mark of a verdict is drawn."""
    return _look(item.decision)


def _look(decision: Decision) -> dict[str, Any]:
    marker, face = _MARKERS[decision]
    return {
        "marker": marker,
        "color": INK,
        "markerfacecolor": face,
        "markeredgewidth": 1.2,
        "linestyle": "none",
    }
