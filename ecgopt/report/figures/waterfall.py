"""From the published recipe to the fair one: what each step does to the difference."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes

from ecgopt.analysis.waterfall import Step
from ecgopt.evidence.records import CellKey
from ecgopt.report import words
from ecgopt.report.figures.drawing import FAINT, INK, Drawing, Layout, draw, slug

BEST_EPOCH = "published recipe, best test epoch"


def caption(steps: Sequence[Step]) -> str:
    """Return what is drawn, from the steps that were measured."""
    first = steps[0].name + (
        f", which is what {words.PAPER} printed" if steps[0].name == BEST_EPOCH else ""
    )
    return (
        f"The difference between the arms on the same data, read in {len(steps)} ways: from the "
        f"{first}, to both arms tuned. The outer bars are the difference itself; the others are "
        "its change at each step."
    )


ROW = 34.0


def draw_waterfall(
    cell: CellKey, reference: str, regime: str, steps: Sequence[Step]
) -> Drawing | None:
    """Return the waterfall of one cell and arm; None with fewer than two measured steps."""
    if len(steps) < 2:
        return None
    return draw(
        name=slug("waterfall", cell, regime),
        title=str(cell),
        alt=" ".join(f"{step.name}: difference {words.signed(step.difference)}." for step in steps),
        layout=Layout(panel_height=ROW * (len(steps) + 1), left=14, right=40, top=8),
        paint=lambda panel: _paint(panel, reference, regime, steps),
    )


def _paint(panel: Axes, reference: str, regime: str, steps: Sequence[Step]) -> None:
    panel.axvline(0, color=FAINT, linewidth=0.8)
    rows = [(steps[0].name, 0.0, steps[0].difference)]
    for before, step in pairwise(steps):
        rows.append((step.name, before.difference, step.difference))
    rows.append(("both tuned", 0.0, steps[-1].difference))
    for row, (name, start, end) in enumerate(rows):
        is_total = row in (0, len(rows) - 1)
        colour = INK if is_total else FAINT
        panel.barh(row, end - start, left=start, height=0.42, color=colour)
        panel.annotate(
            name, (0, row - 0.38), xycoords=("axes fraction", "data"), va="center", fontsize=9
        )
        panel.annotate(
            words.signed(end - start),
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    panel.set_ylim(len(rows) - 0.5, -0.7)
    panel.set_yticks([])
    panel.margins(x=0.06)
    panel.grid(visible=False, axis="y")
    panel.set_xlabel(words.directions(reference, regime))
    panel.spines["left"].set_visible(False)
