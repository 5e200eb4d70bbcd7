"""Validation score against training seconds, coloured by regime."""

from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.analysis.pareto import front, trade_points
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    FAINT,
    Drawing,
    add_legend,
    draw,
    slug,
    use_plain_log_ticks,
)

CAPTION = (
    "Every complete trial by its training time and validation macro AUROC. The stairs join the "
    "trials that no other beats in both. Pre-training is not in these seconds."
)


def draw_pareto(cell: CellConclusion) -> Drawing | None:
    """Return the trade of score and time in one cell; None without a complete trial."""
    points = trade_points(arm.arm for arm in cell.arms.values())
    if not points:
        return None
    best = front(points)
    said = "; ".join(
        f"{words.duration(point.seconds)} for {words.score(point.value)} "
        f"({words.regime_name(point.regime)})"
        for point in best
    )

    def paint(panel: Axes) -> None:
        panel.step(
            [point.seconds for point in best],
            [point.value for point in best],
            where="post",
            color=FAINT,
            linewidth=1.2,
        )
        for index, regime in enumerate(cell.arms):
            panel.plot(
                [point.seconds for point in points if point.regime == regime],
                [point.value for point in points if point.regime == regime],
                ARM_MARKERS[index % len(ARM_MARKERS)],
                color=ARM_COLOURS[index % len(ARM_COLOURS)],
                markersize=4.5,
                label=words.regime_name(regime),
            )
        use_plain_log_ticks(panel)
        panel.set_xlabel("training seconds")
        panel.set_ylabel("validation macro AUROC")
        add_legend(panel)

    return draw(
        name=slug("trade-off", cell.cell),
        title=words.whole_cell(cell.cell),
        alt=f"Front: {said}.",
        paint=paint,
    )
