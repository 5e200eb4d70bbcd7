"""Score against training time, coloured by arm: of every trial, and of whole arms."""

from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.analysis.pareto import ArmTrade, front, trade_points
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


ARMS_CAPTION = (
    "Every arm by what one target costs (tuning and final fits of one replicate, and "
    "pre-training in full) and by its test score with its interval. The stairs join "
    "the arms that no other beats in both."
)


def draw_arm_trades(cell: CellConclusion) -> Drawing | None:
    """Return the trade of score and cost over the arms of one cell; None before two have both."""
    if len(cell.trades) < 2 or not all(trade.seconds > 0 for trade in cell.trades):
        return None
    unit, name_of_unit = words.unit_of_time(max(trade.seconds for trade in cell.trades))
    best = [trade for trade in cell.trades if trade.is_on_front]

    def paint(panel: Axes) -> None:
        panel.step(
            [trade.seconds / unit for trade in best],
            [trade.score for trade in best],
            where="post",
            color=FAINT,
            linewidth=1.2,
        )
        order = list(cell.arms)
        for trade in cell.trades:
            index = order.index(trade.regime)
            colour = ARM_COLOURS[index % len(ARM_COLOURS)]
            interval = cell.arms[trade.regime].intervals.get("tuned")
            if interval is not None:
                seconds = trade.seconds / unit
                panel.plot([seconds, seconds], [interval.low, interval.high], color=colour)
            panel.plot(
                trade.seconds / unit,
                trade.score,
                ARM_MARKERS[index % len(ARM_MARKERS)],
                color=colour,
                markersize=6,
                label=words.regime_name(trade.regime),
            )
        use_plain_log_ticks(panel)
        panel.set_xlabel(f"training {name_of_unit} for one target")
        panel.set_ylabel(f"test {cell.arms[order[0]].arm.metric.oriented_title}")
        add_legend(panel)

    return draw(
        name=slug("arms-score-cost", cell.cell),
        title=words.whole_cell(cell.cell),
        alt=f"Front: {'; '.join(map(_say, best))}.",
        paint=paint,
    )


def _say(trade: ArmTrade) -> str:
    name = words.regime_name(trade.regime)
    return f"{name}, {words.score(trade.score)} for {words.duration(trade.seconds)}"
