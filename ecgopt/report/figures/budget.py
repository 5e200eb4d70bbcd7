"""What more trials buy each arm, and the budget at which the lead changes hands."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.analysis.curves import BAND
from ecgopt.report import words
from ecgopt.report.figures.drawing import ARM_COLOURS, ARM_LINES, FAINT, Drawing, Layout, draw


def draw_budget(cells: Sequence[CellConclusion]) -> Drawing | None:
    """Return the budget curves of `cells`, a panel each; None without any complete trial."""
    shown = [cell for cell in cells if any(arm.curve is not None for arm in cell.arms.values())]
    if not shown:
        return None
    columns = 2 if len(shown) > 1 else 1
    return draw(
        name="budget",
        title="What a budget buys",
        caption=(
            "Expected validation macro AUROC of the best among k trials, drawn without "
            f"replacement; the band holds {BAND:.0%} of such draws. Left end: what one untuned "
            "guess gives. Right end: the whole budget. Dotted: the lead changes for good."
        ),
        alt=" ".join(_say(cell) for cell in shown),
        layout=Layout(columns=columns, rows=-(-len(shown) // columns), panel_height=150),
        paint=lambda panels: _paint(panels, shown),
    )


def _say(cell: CellConclusion) -> str:
    parts = [
        f"{words.regime_name(regime)} goes from {words.score(float(arm.curve.expected[0]))} with "
        f"one trial to {words.score(float(arm.curve.expected[-1]))} with {len(arm.curve.expected)}"
        for regime, arm in cell.arms.items()
        if arm.curve is not None
    ]
    return f"{cell.cell}: {'; '.join(parts)}."


def _paint(panels: Sequence[Axes], cells: Sequence[CellConclusion]) -> None:
    for panel in panels[len(cells) :]:
        panel.set_visible(False)
    for panel, cell in zip(panels, cells, strict=False):
        for index, (regime, arm) in enumerate(cell.arms.items()):
            if (curve := arm.curve) is None:
                continue
            trials = np.arange(1, len(curve.expected) + 1)
            colour = ARM_COLOURS[index % len(ARM_COLOURS)]
            panel.fill_between(trials, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            panel.plot(
                trials,
                curve.expected,
                color=colour,
                linestyle=ARM_LINES[index % len(ARM_LINES)],
                label=words.regime_name(regime),
            )
        for crossover in cell.crossovers.values():
            if crossover.since_trials > 1 and crossover.leader is not None:
                panel.axvline(crossover.since_trials, color=FAINT, linestyle=":", linewidth=1.2)
        panel.set_xlabel("trials")
        panel.set_title(f"{cell.cell.upstream} → {cell.cell.downstream}, n = {cell.cell.n_train:,}")
    panels[0].set_ylabel("validation macro AUROC")
    panels[0].legend(loc="lower right")
