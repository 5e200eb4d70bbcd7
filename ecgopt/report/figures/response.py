"""How each arm answers to the learning rate."""

from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_MARKERS,
    PAPER,
    Drawing,
    add_legend,
    arm_style,
    draw,
    slug,
)

CAPTION = (
    "Every trial's validation macro AUROC against its learning rate; hollow: pruned, at the score "
    "it had then. The bars at the bottom span the rates that came within the margin of the best: a "
    "wider bar is an arm that is easier to tune."
)


def draw_response(cell: CellConclusion) -> Drawing | None:
    """Return the learning-rate response of one cell; None without any."""
    if all(arm.response is None for arm in cell.arms.values()):
        return None
    return draw(
        name=slug("learning rate", cell.cell),
        title=words.whole_cell(cell.cell),
        alt=" ".join(say_response(cell)),
        paint=lambda panel: _paint(panel, cell),
    )


def say_response(cell: CellConclusion) -> list[str]:
    """Return a sentence per arm on its best rate and its basin."""
    return [
        f"{words.regime_name(regime)}: best learning rate {arm.response.best_rate:.2g}, within the "
        f"margin from {arm.response.basin[0]:.2g} to {arm.response.basin[1]:.2g} "
        f"({arm.response.basin_decades:.1f} decades); {arm.response.share_good:.0%} of its trials "
        "come that close."
        for regime, arm in cell.arms.items()
        if arm.response is not None
    ]


def _paint(panel: Axes, cell: CellConclusion) -> None:
    values = []
    for index, (regime, arm) in enumerate(cell.arms.items()):
        if (response := arm.response) is None:
            continue
        colour = arm_style(index)["color"]
        marker = ARM_MARKERS[index % len(ARM_MARKERS)]
        for is_complete, face in ((True, colour), (False, PAPER)):
            points = [p for p in response.points if p.is_complete == is_complete]
            panel.plot(
                [point.rate for point in points],
                [point.value for point in points],
                marker,
                color=colour,
                markerfacecolor=face,
                markersize=4.5,
                alpha=0.9 if is_complete else 0.7,
                label=words.regime_name(regime) if is_complete else None,
            )
            values += [point.value for point in points]
    low, high = min(values), max(values)
    step = (high - low or 0.01) * 0.07
    for index, arm in enumerate(cell.arms.values()):
        if arm.response is not None:
            height = low - step * (1 + index)
            panel.plot(
                arm.response.basin,
                [height, height],
                color=arm_style(index)["color"],
                linewidth=4,
                solid_capstyle="round",
            )
    panel.set_xscale("log")
    panel.set_xlabel("learning rate")
    panel.set_ylabel("validation macro AUROC")
    add_legend(panel)
