"""From the published recipe to the fair one: what each step does to the difference."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ecgopt.analysis.waterfall import Step
from ecgopt.evidence.records import CellKey
from ecgopt.report import words
from ecgopt.report.figures.drawing import ARM_COLOURS, FAINT, INK, Drawing, Layout, draw, slug

CAPTION = (
    "The same data read in other ways, from the published recipe at its best test epoch, as the "
    "published study printed it, to both arms tuned. Bars are the change of the difference at "
    "each step; the outer bars are the difference itself."
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
    rows.append(("what is left", 0.0, steps[-1].difference))
    for row, (name, start, end) in enumerate(rows):
        is_total = row in (0, len(rows) - 1)
        colour = INK if is_total else ARM_COLOURS[1 if end >= start else 0]
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
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5))
    panel.grid(visible=False, axis="y")
    panel.set_xlabel(words.directions(reference, regime))
    panel.spines["left"].set_visible(False)
