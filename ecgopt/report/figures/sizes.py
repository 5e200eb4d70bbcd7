"""The difference against training size, and where it is gone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from ecgopt.analysis.sizes import Crossover, SizeLadder
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    FAINT,
    GRID,
    INK,
    Drawing,
    Layout,
    add_legend,
    draw,
    slug,
)
from ecgopt.report.figures.forest import verdict_look

CAPTION = (
    "Paired difference of the test score at each training size with its interval, and the line "
    "fitted to log size (its interval knows that sizes share test patients). Shaded: the margin. "
    "Where the line meets zero, or the margin, is the crossover size."
)


def draw_ladder(ladder: SizeLadder) -> Drawing:
    """Return the difference against training size of one ladder."""
    points = "; ".join(
        f"n = {point.cell.n_train:,}: {words.signed(point.interval.estimate)}"
        for point in ladder.points
        if point.interval is not None
    )
    return draw(
        name=slug(
            "size",
            ladder.upstream,
            ladder.downstream,
            ladder.model,
            ladder.reference,
            ladder.regime,
        ),
        title=words.ladder(ladder.upstream, ladder.downstream, ladder.model),
        alt=f"{points}. {say_ladder(ladder)}",
        layout=Layout(panel_height=180),
        paint=lambda panel: _paint(panel, ladder),
    )


def say_ladder(ladder: SizeLadder) -> str:
    """Return what a ladder shows, in a sentence."""
    slope = f"{words.signed(ladder.slope)} {words.interval(ladder.slope_low, ladder.slope_high)}"
    return (
        f"The difference changes by {slope} per tenfold training size; it "
        f"{_crosses(ladder.to_zero, 'reaches zero')} and "
        f"{_crosses(ladder.to_margin, 'falls to the margin')}."
    )


def _crosses(crossover: Crossover, what: str) -> str:
    if crossover.n_train is None:
        return f"{what} at none of these sizes"
    if crossover.low is None and crossover.high is None:
        return f"{what} within these sizes, but where is not known"
    low = words.size(crossover.low) if crossover.low else "unbounded"
    high = words.size(crossover.high) if crossover.high else "unbounded"
    return f"{what} at n ≈ {words.size(crossover.n_train)} [{low}, {high}]"


def _paint(panel: Axes, ladder: SizeLadder) -> None:
    margin = ladder.points[0].margin
    panel.axhspan(-margin, margin, color=GRID, linewidth=0)
    panel.axhline(0, color=FAINT, linewidth=0.8)
    sizes = np.array(ladder.sizes, dtype=float)
    line = ladder.intercept + ladder.slope * np.log10(sizes)
    panel.plot(sizes, line, color=FAINT, linestyle=":", label="fitted line")
    for point in ladder.points:
        if (interval := point.interval) is not None:
            size = point.cell.n_train
            panel.plot([size, size], [interval.low, interval.high], color=INK)
            panel.plot(size, interval.estimate, **verdict_look(point))
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator([float(size) for size in ladder.sizes]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(list(ladder.sizes), [f"{size:,}" for size in ladder.sizes])
    panel.set_xlabel("labelled training records")
    panel.set_ylabel(words.difference_label(ladder.points))
    add_legend(panel)
