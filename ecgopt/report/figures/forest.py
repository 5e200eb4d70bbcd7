"""Every cell's paired difference with its interval, against the margin."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import Conclusions
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    FAINT,
    GRID,
    INK,
    Drawing,
    Layout,
    draw,
)

ROW = 22.0


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
    labels = [_label(item, conclusions) for item in found]
    left = 14 + 5.1 * max(len(label) for label in labels)
    reference = words.regime_name(comparison.regimes[0])
    sentences = (
        f"{label}: {words.verdict_sentence(item)}"
        for label, item in zip(labels, found, strict=True)
    )
    return draw(
        name="differences",
        title=f"Difference from {reference}, cell by cell",
        caption=(
            f"Paired difference of test macro AUROC, with {comparison.confidence:.0%} intervals "
            f"over replicates, seeds and patients. Shaded: the margin of ±{comparison.margin:g}."
        ),
        alt=" ".join(list(sentences)[:12]),
        layout=Layout(panel_height=ROW * len(found) + 10, left=min(left, 250.0), top=10),
        paint=lambda panels: _paint(panels[0], found, labels, comparison.margin),
    )


def _label(item: CellComparison, conclusions: Conclusions) -> str:
    cell = item.cell
    label = f"{cell.upstream} → {cell.downstream}, n = {cell.n_train:,}"
    if len({other.cell.model for other in conclusions.cells}) > 1:
        label += f", {cell.model}"
    if len(conclusions.evidence.comparison.regimes) > 2:
        label += f", {words.regime_name(item.regime)}"
    return label


def _paint(
    panel: Axes, found: Sequence[CellComparison], labels: Sequence[str], margin: float
) -> None:
    panel.axvspan(-margin, margin, color=GRID, linewidth=0)
    panel.axvline(0, color=FAINT, linewidth=0.8)
    for row, item in enumerate(found):
        interval = item.interval
        assert interval is not None
        colour, marker = _look(item)
        panel.plot([interval.low, interval.high], [row, row], color=colour)
        panel.plot(interval.estimate, row, marker, color=colour, markersize=6)
    panel.set_yticks(range(len(found)), labels)
    panel.set_ylim(len(found) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    panel.set_xlabel(
        "← scratch better      fine-tune better →" if _is_plain(found) else "difference"
    )
    panel.spines["left"].set_visible(False)


def _is_plain(found: Sequence[CellComparison]) -> bool:
    return {(item.reference, item.regime) for item in found} == {("scratch", "fine_tune")}


def _look(item: CellComparison) -> tuple[str, str]:
    if item.verdict == "transfer wins":
        return ARM_COLOURS[1], ARM_MARKERS[1]
    if item.verdict == "scratch wins":
        return ARM_COLOURS[0], ARM_MARKERS[0]
    return (INK, "D") if item.verdict == "equivalent" else (FAINT, "x")
