"""A figure as text: deterministic SVG that follows the page's light and dark colours."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, GRID = "#1b1f24", "#5b6470", "#dfe3e8"
ARM_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b38600", "#2a9bd0")
"""Okabe & Ito's colours, safe for the colour-blind; the reference arm's first."""
ARM_MARKERS = ("o", "s", "^", "D", "v", "P")
ARM_LINES = ("--", "-", ":", "-.", (0, (5, 1)), (0, (1, 1)))
GOOD, BAD, PAPER = "#2e7d32", "#b3261e", "#fffffe"

_VARIABLES = {
    INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--grid)",
    GOOD: "var(--good)", BAD: "var(--bad)", PAPER: "var(--paper)",
    **{colour: f"var(--arm-{index})" for index, colour in enumerate(ARM_COLOURS)},
}  # fmt: skip

_STYLE = {
    "font.family": "sans-serif", "font.size": 10.0, "svg.fonttype": "none", "pdf.fonttype": 42,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.0,
    "axes.titlelocation": "left", "axes.axisbelow": True, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "xtick.color": FAINT, "ytick.color": FAINT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0, "legend.frameon": False, "legend.fontsize": 9.0,
    "lines.linewidth": 1.8, "lines.markersize": 5.0, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "axes.unicode_minus": True,
}  # fmt: skip

POINT = 1 / 72


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One figure of the report."""

    name: str
    title: str
    caption: str
    """What is drawn and how to read it."""
    alt: str
    """What a reader who cannot see the figure should know."""
    svg: str
    """With fixed colours, for a file of its own."""
    pdf: bytes

    @property
    def inline_svg(self) -> str:
        """The figure for the page: colours from the page's variables, no ids that could clash."""
        body = self.svg[self.svg.index("<svg") :]
        for colour, variable in _VARIABLES.items():
            body = body.replace(colour, variable)
        body = re.sub(r' id="[a-z]+[A-Za-z]*_[0-9_]+"', "", body)
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        body = re.sub(r' (width|height)="[0-9.]+pt"', "", body, count=2)
        label = f'role="img" aria-label="{_escape(self.alt)}"'
        return re.sub(r"\n\s*", "\n", body.replace("<svg ", f"<svg {label} ", 1))


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Panels of one figure; all lengths in points."""

    columns: int = 1
    rows: int = 1
    width: float = 468.0
    panel_height: float = 210.0
    left: float = 52.0
    right: float = 10.0
    top: float = 26.0
    bottom: float = 42.0
    gap: float = 56.0

    @property
    def height(self) -> float:
        """Of the whole figure."""
        return self.top + self.bottom + self.rows * self.panel_height + (self.rows - 1) * self.gap


def draw(
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    layout: Layout,
    paint: Callable[[Sequence[Axes]], None],
) -> Drawing:
    """Return the figure that `paint` draws on the layout's panels, row by row."""
    style: Any = {**_STYLE, "svg.hashsalt": name}  # the stubs know each key as a literal
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(layout.width * POINT, layout.height * POINT))
        panels = figure.subplots(layout.rows, layout.columns, squeeze=False)
        width = (layout.width - layout.left - layout.right) / layout.columns
        figure.subplots_adjust(
            left=layout.left / layout.width,
            right=1 - layout.right / layout.width,
            top=1 - layout.top / layout.height,
            bottom=layout.bottom / layout.height,
            hspace=layout.gap / layout.panel_height,
            wspace=min(layout.left * 0.9 / width, 1.0) if layout.columns > 1 else None,
        )
        paint(list(panels.flat))
        return Drawing(
            name=name, title=title, caption=caption, alt=alt, svg=_svg(figure), pdf=_pdf(figure)
        )


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "ecgopt"})
    return text.getvalue()


def _pdf(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="pdf", metadata={"CreationDate": None, "Creator": "ecgopt"})
    return data.getvalue()
