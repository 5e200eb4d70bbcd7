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
    notes: tuple[str, ...] = ()
    """What a reader must know of the tables; after them."""
    for_print: tuple["Drawing", ...] = ()
    """Figures that are written as files, SVG and PDF, and not shown on the page."""

    def all_drawings(self) -> tuple["Drawing", ...]:
        """Return every figure of the section."""
        shown = self.drawings + tuple(d for gallery in self.galleries for d in gallery.drawings)
        return shown + self.for_print


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
    checks: str
    """How many sanity gates failed, and which."""
    has_failed_checks: bool
    facts: str
    """When, for how long and on what it ran."""
    sections: Sequence[Section]
    """What answers the question."""
    details: Sequence[Section]
    """What it rests on; not printed."""
    footer: str

    def all_sections(self) -> list[Section]:
        """Return every section."""
        return [*self.sections, *self.details]


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
        checks=page.checks,
        has_failed_checks=page.has_failed_checks,
        facts=page.facts,
        sections=page.sections,
        details=page.details,
        footer=page.footer,
        css=(folder / "page.css").read_text("utf-8"),
    )
