"""What more trials buy each arm, and the budget at which the lead changes hands."""

import numpy as np
from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.analysis.curves import BAND
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_MARKERS,
    FAINT,
    Drawing,
    add_legend,
    arm_style,
    draw,
    round_ticks,
    slug,
)

CAPTION = (
    "Expected validation macro AUROC of the best among k trials, drawn without replacement; the "
    f"band holds {BAND:.0%} of such draws. The left end is what one untuned guess gives, the right "
    "end the whole budget. The mark at the right is the winner's mean score on the sealed test, "
    "not on validation. Dotted: from here on the lead over the reference no longer changes."
)

MOST_BANDS = 3
"""Bands of more arms would hide one another."""


def draw_budget(cell: CellConclusion) -> Drawing | None:
    """Return the budget curves of one cell; None without any complete trial."""
    if all(arm.curve is None for arm in cell.arms.values()):
        return None
    return draw(
        name=slug("budget", cell.cell),
        title=words.whole_cell(cell.cell),
        alt=" ".join([*_say_arms(cell), *_say_crossovers(cell)]),
        paint=lambda panel: _paint(panel, cell),
    )


def _say_arms(cell: CellConclusion) -> list[str]:
    return [
        f"{words.regime_name(regime)} goes from {words.score(float(arm.curve.expected[0]))} with "
        f"one trial to {words.score(float(arm.curve.expected[-1]))} with "
        f"{len(arm.curve.expected)}."
        for regime, arm in cell.arms.items()
        if arm.curve is not None
    ]


def _say_crossovers(cell: CellConclusion) -> list[str]:
    return [
        f"{words.regime_name(crossover.leader)} leads from {crossover.since_trials} trials on."
        for crossover in cell.crossovers.values()
        if crossover.leader is not None
    ]


def _paint(panel: Axes, cell: CellConclusion) -> None:
    for index, (regime, arm) in enumerate(cell.arms.items()):
        if (curve := arm.curve) is None:
            continue
        trials = np.arange(1, len(curve.expected) + 1)
        style = arm_style(index)
        if len(cell.arms) <= MOST_BANDS:
            panel.fill_between(
                trials, curve.low, curve.high, color=style["color"], alpha=0.15, linewidth=0
            )
        panel.plot(trials, curve.expected, label=words.regime_name(regime), **style)
        if (test := arm.test_score()) is not None:
            marker = ARM_MARKERS[index % len(ARM_MARKERS)]
            panel.plot(trials[-1], test, marker, color=style["color"], clip_on=False)
    for index, crossover in enumerate(cell.crossovers.values(), start=1):
        if crossover.since_trials > 1 and crossover.leader is not None:
            # One line belongs to both arms; of several, each to the arm that meets the reference.
            colour = FAINT if len(cell.crossovers) == 1 else arm_style(index)["color"]
            panel.axvline(crossover.since_trials, color=colour, linestyle=":", linewidth=1.2)
    panel.xaxis.set_major_locator(round_ticks(integer=True))
    panel.set_xlabel("trials")
    panel.set_ylabel("macro AUROC, best of k trials")
    add_legend(panel)
