"""Which cells get figures of their own, and how they stand together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ecgopt.analysis.conclude import CellConclusion, Conclusions
from ecgopt.report import words
from ecgopt.report.figures.drawing import Drawing, on_shared_axes
from ecgopt.report.page.html import Gallery

MOST_CELLS_DRAWN = 6
MOST_ROWS_SHOWN = 16
"""Longer tables are folded."""


def drawn_cells(conclusions: Conclusions) -> Sequence[CellConclusion]:
    """Return the cells that get figures of their own: all, or evenly spread ones of many."""
    cells = conclusions.cells
    if len(cells) <= MOST_CELLS_DRAWN:
        return cells
    step = (len(cells) - 1) / (MOST_CELLS_DRAWN - 1)
    return [cells[round(index * step)] for index in range(MOST_CELLS_DRAWN)]


def gallery(
    conclusions: Conclusions,
    title: str,
    caption: str,
    drawing: Callable[[CellConclusion], Drawing | None],
) -> tuple[Gallery, ...]:
    """Return one gallery of the drawn cells, or none if no cell has anything to draw."""
    cells = drawn_cells(conclusions)
    found = [(cell, drawn) for cell in cells if (drawn := drawing(cell)) is not None]
    drawings = tuple(
        replace(drawn, title=words.cell_label(cell.cell, conclusions)) for cell, drawn in found
    )
    if not drawings:
        return ()
    return (Gallery(title=title, caption=caption, drawings=on_shared_axes(drawings)),)
