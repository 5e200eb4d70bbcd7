"""Every cell's paired difference with its interval, against the margin."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import Conclusions
from ecgopt.analysis.verdict import Decision
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    FAINT,
    GRID,
    INK,
    PAPER,
    Drawing,
    Layout,
    draw,
)

ROW = 31.0
MOST_SAID = 12


def draw_forest(conclusions: Conclusions) -> Drawing | None:
    """Return the forest plot of all cells; None while no cell has an interval."""
    found = [
        comparison
        for cell in conclusions.cells
        for comparison in cell.comparisons
        if comparison.interval is not None
    ]
    if not found:
        return None
    comparison = conclusions.evidence.comparison
    labels = [words.cell_label(item.cell, conclusions, item.regime) for item in found]
    said = (
        f"{label}: {words.verdict_sentence(item)}"
        for label, item in zip(labels[:MOST_SAID], found, strict=False)
    )
    return draw(
        name="differences",
        title=f"Difference from {words.regime_name(comparison.regimes[0])}",
        caption=(
            f"Paired difference of test macro AUROC with its {comparison.confidence:.0%} interval "
            f"over replicates, seeds and patients. Shaded: the margin of ±{comparison.margin:g}. "
            f"{_legend(comparison.regimes)}"
        ),
        alt=" ".join(said),
        layout=Layout(panel_height=ROW * len(found), left=14, right=14, top=8),
        paint=lambda panel: _paint(panel, found, labels, comparison.margin),
    )


def _paint(
    panel: Axes, found: Sequence[CellComparison], labels: Sequence[str], margin: float
) -> None:
    # From back to front: the scale, the labels on paper of their own, the intervals.
    panel.axvspan(-margin, margin, color=GRID, linewidth=0, zorder=1)
    panel.axvline(0, color=FAINT, linewidth=0.8, zorder=1.1)
    for row, (item, label) in enumerate(zip(found, labels, strict=True)):
        interval = item.interval
        assert interval is not None
        colour, marker = _look(item)
        panel.plot([interval.low, interval.high], [row, row], color=colour)
        panel.plot(interval.estimate, row, marker, color=colour, markersize=6, markeredgewidth=1.6)
        panel.annotate(
            label,
            (0, row - 0.38),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
            zorder=1.2,
        )
    panel.set_ylim(len(found) - 0.5, -0.65)
    panel.set_yticks([])
    panel.margins(x=0.06)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6))
    panel.grid(visible=False, axis="y")
    pairs = {(item.reference, item.regime) for item in found}
    panel.set_xlabel(words.directions(*pairs.pop()) if len(pairs) == 1 else "difference")
    panel.spines["left"].set_visible(False)


def _legend(regimes: Sequence[str]) -> str:
    reference, *others = map(words.regime_name, regimes)
    arm = others[0] if len(others) == 1 else "the named arm"
    return f"Square: {arm} wins; circle: {reference} wins; diamond: equivalent; cross: undecided."


def _look(item: CellComparison) -> tuple[str, str]:
    if item.decision is Decision.HIGHER:
        return ARM_COLOURS[1], ARM_MARKERS[1]
    if item.decision is Decision.LOWER:
        return ARM_COLOURS[0], ARM_MARKERS[0]
    return (INK, "D") if item.decision is Decision.EQUIVALENT else (FAINT, "x")
