"""Which parameters decided the score within each arm."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.report import words
from ecgopt.report.figures.drawing import ARM_COLOURS, Drawing, Layout, add_legend, draw

CAPTION = (
    "Share of the validation score's variation that each tuned parameter explains within an arm "
    "(PED-ANOVA over complete trials, mean over cells and replicates)."
)


def mean_importance(cells: Sequence[CellConclusion]) -> dict[str, dict[str, float]]:
    """Return regime to parameter to its mean importance over the cells that have one."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        for regime, arm in cell.arms.items():
            for name, share in arm.importance.items():
                found.setdefault(regime, {}).setdefault(name, []).append(share)
    return {
        regime: {name: float(np.mean(shares)) for name, shares in of_regime.items()}
        for regime, of_regime in found.items()
    }


def draw_importance(cells: Sequence[CellConclusion]) -> Drawing | None:
    """Return the importances of all arms; None where no arm has enough complete trials."""
    found = mean_importance(cells)
    if not found:
        return None
    totals: dict[str, float] = {}
    for shares in found.values():
        for name, share in shares.items():
            totals[name] = totals.get(name, 0.0) + share
    names = sorted(totals, key=lambda name: -totals[name])
    regimes = [regime for regime in cells[0].arms if regime in found]
    height = 0.8 / len(regimes)

    def paint(panel: Axes) -> None:
        for index, regime in enumerate(regimes):
            position = list(cells[0].arms).index(regime)
            panel.barh(
                [row + (index - (len(regimes) - 1) / 2) * height for row in range(len(names))],
                [found[regime].get(name, 0.0) for name in names],
                height=height * 0.92,
                color=ARM_COLOURS[position % len(ARM_COLOURS)],
                label=words.regime_name(regime),
            )
        panel.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.set_xlim(0, 1)
        panel.set_xlabel("share of variation")
        add_legend(panel)

    return draw(
        name="importance",
        title="What decided the score within each arm",
        caption=CAPTION,
        alt=" ".join(
            f"{words.regime_name(regime)}: "
            + ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in shares.items())
            + "."
            for regime, shares in found.items()
        ),
        layout=Layout(panel_height=26 * len(names) + 20, left=92),
        paint=paint,
    )
