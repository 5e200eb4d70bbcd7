"""The report as one self-contained HTML page that asks nothing of the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.report.figures.drawing import Drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable:
    """A table whose values are already text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset()
    """Positions of columns that hold words; the others hold numbers."""
    is_folded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Figures of one kind, a cell each, under one caption."""

    title: str
    caption: str
    drawings: tuple["Drawing", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page."""

    name: str
    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    tables: tuple[PageTable, ...] = ()
    drawings: tuple["Drawing", ...] = ()
    galleries: tuple[Gallery, ...] = ()

    def all_drawings(self) -> tuple["Drawing", ...]:
        """Return every figure of the section."""
        return self.drawings + tuple(d for gallery in self.galleries for d in gallery.drawings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole page."""

    name: str
    place: str
    """What all cells share; the whole name of an only one."""
    question: str
    answer: str
    """The verdict over all cells in one sentence."""
    rules: str
    """Under which rules the verdicts were reached."""
    sections: Sequence[Section]
    footer: str


def render(page: Page) -> str:
    """Return `page` as HTML; everything but the figures is escaped."""
    folder = files(__package__)
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((folder / "page.html.j2").read_text("utf-8"))
    return template.render(
        name=page.name,
        place=page.place,
        question=page.question,
        answer=page.answer,
        rules=page.rules,
        sections=page.sections,
        footer=page.footer,
        css=(folder / "page.css").read_text("utf-8"),
    )
