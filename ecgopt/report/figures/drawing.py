"""A figure as text: deterministic SVG that follows the page's light and dark colours."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK, FAINT, GRID = "#1b1f24", "#5b6470", "#dfe3e8"
ARM_COLOURS = (
    "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b38600", "#2a9bd0", "#6b6fa8", "#7a5c3e",
)  # fmt: skip
"""Okabe & Ito's colours, safe for the colour-blind, the reference arm's first; then two muted ones
for comparisons of many arms, which markers and lines tell apart as well."""
ARM_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
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

_PRINT_STYLE = {
    "font.size": 7.0, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5, "legend.fontsize": 6.5,
    "axes.titlesize": 7.0, "axes.linewidth": 0.5, "grid.linewidth": 0.4, "lines.linewidth": 1.0,
    "lines.markersize": 3.2, "xtick.major.width": 0.5, "ytick.major.width": 0.5,
    "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
}  # fmt: skip
PRINT_WIDTH = 183 / 25.4 * 72
"""Points; two columns of a journal."""
_SHEET = 700.0
"""Pixels at 100 dpi; what is wider is a sheet of panels."""

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
    figure: Figure
    """What the SVG was drawn from."""

    def pdf(self) -> bytes:
        """Return the figure as PDF; embedding its font takes ten times as long as the SVG."""
        data = io.BytesIO()
        with _style(self.name):
            self.figure.savefig(
                data, format="pdf", metadata={"CreationDate": None, "Creator": "ecgopt"}
            )
        return data.getvalue()

    @property
    def inline_svg(self) -> str:
        """The figure for the page: colours from the page's variables, no ids that could clash."""
        body = self.svg[self.svg.index("<svg") :]
        for colour, variable in _VARIABLES.items():
            body = body.replace(colour, variable)
        body = _with_own_ids(body, self.name)
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        body = re.sub(r' (width|height)="[0-9.]+pt"', "", body, count=2)
        label = f'role="img" aria-label="{_escape(self.alt)}"'
        return re.sub(r"\n\s*", "\n", body.replace("<svg ", f"<svg {label} ", 1))


def _with_own_ids(svg: str, name: str) -> str:
    """Return `svg` without ids that nothing refers to, and the figure's name before the others."""
    used = set(re.findall(r"""(?:url\(#|href="#)([^")]+)""", svg))

    def own(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    svg = re.sub(r' id="([^"]+)"', own, svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Size of a one-panel figure; all lengths in points.

    Narrow on purpose: at its natural size the text is readable on a phone, and a wide page shows
    two side by side.
    """

    width: float = 330.0
    panel_height: float = 170.0
    left: float = 50.0
    right: float = 12.0
    top: float = 22.0
    """Room for the legend."""
    bottom: float = 40.0

    @property
    def height(self) -> float:
        """Of the whole figure."""
        return self.top + self.bottom + self.panel_height


NORMAL = Layout()


def draw(
    *,
    name: str,
    title: str,
    alt: str,
    paint: Callable[[Axes], None],
    caption: str = "",
    layout: Layout = NORMAL,
) -> Drawing:
    """Return the figure that `paint` draws on one panel."""
    with _style(name):
        figure = Figure(figsize=(layout.width * POINT, layout.height * POINT))
        panel = figure.add_axes(
            (
                layout.left / layout.width,
                layout.bottom / layout.height,
                1 - (layout.left + layout.right) / layout.width,
                layout.panel_height / layout.height,
            )
        )
        paint(panel)
        use_round_ticks(panel)
        _make_room_for_legend(figure, panel, layout)
        return Drawing(
            name=name, title=title, caption=caption, alt=alt, svg=_svg(figure), figure=figure
        )


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "ecgopt"})
    return text.getvalue()


def on_shared_axes(drawings: Sequence[Drawing], *, x: bool = True) -> tuple[Drawing, ...]:
    """Return one-panel figures again on common axes, so that they can be compared by eye."""
    panels = [drawing.figure.axes[0] for drawing in drawings]
    if len(panels) < 2:
        return tuple(drawings)
    for panel in panels:
        panel.set_ylim(*_hull([each.get_ylim() for each in panels]))
        if x:
            panel.set_xlim(*_hull([each.get_xlim() for each in panels]))
    return tuple(_redrawn(drawing) for drawing in drawings)


def _redrawn(drawing: Drawing) -> Drawing:
    with _style(drawing.name):
        return replace(drawing, svg=_svg(drawing.figure))


def _hull(limits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in limits), max(high for _, high in limits)


def use_round_ticks(panel: Axes, most: int = 6) -> None:
    """Place the ticks of linear axes at steps of 1, 2 or 5."""
    for axis in (panel.xaxis, panel.yaxis):
        if isinstance(axis.get_major_locator(), AutoLocator):
            axis.set_major_locator(round_ticks(most))


def round_ticks(most: int = 6, *, integer: bool = False) -> MaxNLocator:
    """Return ticks at steps of 1, 2 or 5."""
    return MaxNLocator(nbins=most, integer=integer, steps=[1, 2, 5, 10])


def draw_composite(
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    height: float,
    paint: Callable[[Figure], None],
) -> Drawing:
    """Return a figure for print: 183 mm wide, small type, thin lines; `paint` places its panels."""
    with _style(name, _PRINT_STYLE):
        figure = Figure(figsize=(PRINT_WIDTH * POINT, height * POINT))
        paint(figure)
        svg = _svg(figure)
    return Drawing(name=name, title=title, caption=caption, alt=alt, svg=svg, figure=figure)


def _style(name: str, changes: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    style: Any = {
        **_STYLE,
        **(changes or {}),
        "svg.hashsalt": name,
    }  # the stubs know each key as a literal
    return matplotlib.rc_context(style)


def use_plain_log_ticks(panel: Axes) -> None:
    """Label a logarithmic x axis with plain numbers, also when it spans less than a decade."""
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def add_legend(panel: Axes) -> None:
    """Put the panel's legend above it, where it hides no data, in as few rows as fit."""
    figure = panel.get_figure()
    assert figure is not None
    for n_columns in (4, 3, 2, 1):
        legend = panel.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.99),
            ncols=n_columns,
            handlelength=1.9,
            columnspacing=1.2,
            borderaxespad=0.0,
        )
        if legend.get_window_extent().x1 <= _right_edge(panel, figure.bbox.x1):
            return


def _right_edge(panel: Axes, width: float) -> float:
    """Return where a panel's legend must end: on a sheet of two columns, at the panel's own."""
    box, is_sheet = panel.get_window_extent(), len(panel.figure.axes) > 1 or width > _SHEET
    return width / 2 - 4 if is_sheet and box.x0 < width / 2 - 60 else width


def _make_room_for_legend(figure: Figure, panel: Axes, layout: Layout) -> None:
    """Make the figure taller by the rows of the legend that its top margin does not hold."""
    legend = panel.get_legend()
    if legend is None:
        return
    missing = (legend.get_window_extent().y1 - figure.bbox.y1) / figure.dpi / POINT
    if missing <= 0:
        return
    height = layout.height + missing
    figure.set_size_inches(layout.width * POINT, height * POINT)
    panel.set_position(
        (
            layout.left / layout.width,
            layout.bottom / height,
            1 - (layout.left + layout.right) / layout.width,
            layout.panel_height / height,
        )
    )


def arm_style(index: int) -> dict[str, Any]:
    """Return colour and line of the arm at position `index`; the reference arm is 0."""
    return {
        "color": ARM_COLOURS[index % len(ARM_COLOURS)],
        "linestyle": ARM_LINES[index % len(ARM_LINES)],
    }


def slug(*parts: object) -> str:
    """Return a file name made of `parts`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(map(str, parts))).strip("-").lower()
