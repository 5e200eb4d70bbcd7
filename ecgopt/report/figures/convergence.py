"""Score against epochs and seconds: does scratch catch up?"""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from ecgopt.analysis.conclude import ArmConclusion, CellConclusion
from ecgopt.report import words
from ecgopt.report.figures.drawing import FAINT, Drawing, add_legend, arm_style, draw, slug

CAPTION = (
    "Validation macro AUROC of the final fits after each epoch, every arm at its own winner: the "
    "median fit, and the band of the middle half. Fits differ in length, so both are taken at "
    "equal shares of their schedules. Dotted: 95% of the weakest arm's mean gain over chance, at "
    "each fit's best epoch; a fit need not reach it."
)
Unit = Literal["epochs", "seconds"]


def draw_convergence(cell: CellConclusion, unit: Unit) -> Drawing | None:
    """Return score against epochs or training seconds; None without any curve."""
    shown = {regime: arm for regime, arm in cell.arms.items() if arm.convergence is not None}
    if not shown:
        return None
    return draw(
        name=slug("score against", unit, cell.cell),
        title=f"{words.whole_cell(cell.cell)}, by {unit}",
        alt=" ".join(say_convergence(cell)),
        paint=lambda panel: _paint(panel, cell, unit),
    )


def say_convergence(cell: CellConclusion) -> list[str]:
    """Return a sentence per arm on when it reaches the common score."""
    said = []
    for regime, arm in cell.arms.items():
        if (found := arm.convergence) is None:
            continue
        reached = [each for each in found.common_target if each is not None]
        name = words.regime_name(regime)
        if not reached:
            said.append(f"{name} never reaches the common score of {words.score(found.target)}.")
            continue
        epochs = np.mean([each.epochs for each in reached])
        seconds = float(np.mean([each.seconds for each in reached]))
        said.append(
            f"{name} reaches the common score of {words.score(found.target)} after {epochs:.1f} "
            f"epochs, {words.duration(seconds)}, in {len(reached)} of "
            f"{len(found.common_target)} final fits."
        )
    return said


def _paint(panel: Axes, cell: CellConclusion, unit: Unit) -> None:
    targets = []
    for index, (regime, arm) in enumerate(cell.arms.items()):
        if arm.convergence is not None:
            targets.append(arm.convergence.target)
            _paint_arm(panel, arm, unit, index, words.regime_name(regime))
    panel.axhline(targets[0], color=FAINT, linestyle=":", linewidth=1.2)
    panel.set_xlabel("epochs" if unit == "epochs" else "training seconds")
    panel.set_ylabel("validation macro AUROC")
    add_legend(panel)


def _paint_arm(panel: Axes, arm: ArmConclusion, unit: Unit, index: int, name: str) -> None:
    style = arm_style(index)
    shares = np.linspace(0.0, 1.0, 41)
    places, curves = [], []
    for final in arm.arm.finals_by_pair("tuned").values():
        if not final.curve:
            continue
        end = len(final.curve) if unit == "epochs" else final.seconds
        steps = np.arange(1, len(final.curve) + 1) * end / len(final.curve)
        places.append(steps[0] + shares * (end - steps[0]))
        curves.append(np.interp(places[-1], steps, final.curve))
    middle = np.median(places, axis=0)
    if len(curves) > 2:
        low, high = np.quantile(curves, (0.25, 0.75), axis=0)
        panel.fill_between(middle, low, high, color=style["color"], alpha=0.15, linewidth=0)
    panel.plot(middle, np.median(curves, axis=0), label=name, **style)
