"""Twelve leads drawn on ECG paper, at 25 mm/s and true scale."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from ecgopt.data.signals import LEADS
from ecgopt.errors import DataError, UserError, printable
from ecgopt.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"), ("II",))
"""Rows of the page; the leads of a row follow one another in time, the last row is the rhythm."""

_SECONDS = 10.0
_MM_PER_S = 25.0
_ROW_MM = 38.0
_LEFT_MM, _RIGHT_MM, _TOP_MM, _BOTTOM_MM = 14.0, 6.0, 16.0, 9.0
_PAPER, _FINE, _COARSE, _INK = "#fffaf8", "#f6d9d3", "#e6a79b", "#1b1b1b"


@dataclass(frozen=True, slots=True, kw_only=True)
class EcgPage:
    """What one page shows."""

    microvolts: Float64[np.ndarray, "lead time"]
    """The leads in the order of `LEADS`; the first ten seconds are drawn."""
    sampling_rate_hz: float
    title: str
    subtitle: str = ""

    @property
    def mm_per_mv(self) -> float:
        """10 mm/mV, or 5 mm/mV where the leads would run into one another."""
        span = np.percentile(self.microvolts, 99.9) - np.percentile(self.microvolts, 0.1)
        return 10.0 if span < 5000 else 5.0


def save_ecg_page(page: EcgPage, path: Path) -> None:
    """Draw `page` and write it to `path`, whose suffix `.svg`, `.png` or `.pdf` gives the format.

    Raises:
        UserError: the suffix is another one.
        DataError: `path` cannot be written.
    """
    if path.suffix not in {".svg", ".png", ".pdf"}:
        raise UserError(f"the picture must be .svg, .png or .pdf, but is {path.name!r}")
    import matplotlib as mpl

    # Text stays text in SVG, and equal records give equal files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ecgopt", "font.size": 8}):
        figure = draw_ecg_page(page)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        try:
            with replacing(path) as part:
                figure.savefig(part, format=path.suffix[1:], dpi=150, metadata=metadata)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error


def draw_ecg_page(page: EcgPage) -> "Figure":
    """Return a figure of `page` in true size."""
    from matplotlib.figure import Figure

    paper_mm = (_SECONDS * _MM_PER_S, _ROW_MM * len(_LAYOUT))
    width_mm = _LEFT_MM + paper_mm[0] + _RIGHT_MM
    height_mm = _TOP_MM + paper_mm[1] + _BOTTOM_MM
    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), facecolor="white")
    axes = figure.add_axes(
        (0.0, _BOTTOM_MM / height_mm, 1.0, paper_mm[1] / height_mm), facecolor=_PAPER
    )
    # One unit of both axes is one millimetre.
    axes.set(xlim=(-_LEFT_MM, paper_mm[0] + _RIGHT_MM), ylim=(0, paper_mm[1]), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    _draw_grid(axes)
    for row, leads in enumerate(_LAYOUT):
        baseline_mm = paper_mm[1] - (row + 0.55) * _ROW_MM
        _draw_calibration(axes, baseline_mm, page.mm_per_mv)
        for column, lead in enumerate(leads):
            _draw_lead(axes, page, lead, baseline_mm, (column, len(leads)))
    left = _LEFT_MM / width_mm
    _write(figure, (left, 1 - 5.5 / height_mm), page.title, size=11, weight="bold")
    _write(figure, (left, 1 - 11.5 / height_mm), page.subtitle, size=8.5, color="#555555")
    scale = (
        f"25 mm/s    {page.mm_per_mv:g} mm/mV    {page.sampling_rate_hz:g} Hz    "
        "each lead about its own median"
    )
    _write(figure, (left, 4.5 / height_mm), scale, size=8, color="#555555")
    return figure


def _write(figure: "Figure", place: tuple[float, float], text: str, **style: Any) -> None:  # noqa: ANN401
    # A record's name or statement is shown as it stands, never read as mathematics.
    figure.text(*place, printable(text).replace("$", r"\$"), va="center", **style)


def _draw_grid(axes: "Axes") -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for step, color, width in ((1, _FINE, 0.3), (5, _COARSE, 0.45)):
        verticals = np.arange(step * np.ceil(left / step), right + 0.01, step)
        horizontals = np.arange(bottom, top + 0.01, step)
        axes.vlines(verticals, bottom, top, colors=color, linewidths=width, zorder=0.5)
        axes.hlines(horizontals, left, right, colors=color, linewidths=width, zorder=0.5)


def _draw_calibration(axes: "Axes", baseline_mm: float, mm_per_mv: float) -> None:
    x = np.array([-10.0, -8.5, -8.5, -3.5, -3.5, -2.0])
    y = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]) * mm_per_mv
    axes.plot(x, baseline_mm + y, color=_INK, linewidth=0.8, solid_joinstyle="miter")


def _draw_lead(
    axes: "Axes", page: EcgPage, lead: str, baseline_mm: float, place: tuple[int, int]
) -> None:
    """Draw the part of `lead` that belongs to column `place[0]` of `place[1]`."""
    column, n_columns = place
    start_s, end_s = _SECONDS * column / n_columns, _SECONDS * (column + 1) / n_columns
    first, last = (round(s * page.sampling_rate_hz) for s in (start_s, end_s))
    signal = page.microvolts[LEADS.index(lead)]
    part = signal[first:last] / 1000.0
    x = (first + np.arange(len(part))) / page.sampling_rate_hz * _MM_PER_S
    y = baseline_mm + (part - np.nanmedian(signal) / 1000.0) * page.mm_per_mv
    axes.plot(x, y, color=_INK, linewidth=0.75, solid_joinstyle="round")
    if column:
        edge = start_s * _MM_PER_S
        axes.plot([edge, edge], baseline_mm + np.array([-4, 4]), color=_INK, linewidth=0.5)
    axes.text(
        start_s * _MM_PER_S + 1.5,
        baseline_mm + 0.5 * _ROW_MM - 1.5,
        lead,
        va="top",
        weight="bold",
        size=9,
        color=_INK,
        bbox={"facecolor": _PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
    )
