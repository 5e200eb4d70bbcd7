"""The page's middle part: what the figures show, kind by kind."""

from collections.abc import Callable, Sequence

from ecgopt.analysis.conclude import CellConclusion, Conclusions
from ecgopt.report import words
from ecgopt.report.figures import budget, convergence, cost, pareto, response, sizes, waterfall
from ecgopt.report.figures.drawing import Drawing
from ecgopt.report.figures.importance import draw_importance
from ecgopt.report.page.html import Gallery, PageTable, Section

MOST_CELLS_DRAWN = 6


def drawn_cells(conclusions: Conclusions) -> Sequence[CellConclusion]:
    """Return the cells that get figures of their own: all, or evenly spread ones of many."""
    cells = conclusions.cells
    if len(cells) <= MOST_CELLS_DRAWN:
        return cells
    step = (len(cells) - 1) / (MOST_CELLS_DRAWN - 1)
    return [cells[round(index * step)] for index in range(MOST_CELLS_DRAWN)]


def figure_sections(conclusions: Conclusions) -> list[Section]:
    """Return the sections that have something to show."""
    cells = drawn_cells(conclusions)
    build = (
        _budget(cells),
        _response(cells),
        _sizes(conclusions),
        _convergence(cells),
        _waterfall(conclusions, cells),
        _pareto(cells),
        _parameters(conclusions),
        _cost(cells),
    )
    return [section for section in build if section is not None]


def _gallery(
    title: str,
    caption: str,
    cells: Sequence[CellConclusion],
    drawing: Callable[[CellConclusion], Drawing | None],
) -> tuple[Gallery, ...]:
    drawings = tuple(found for cell in cells if (found := drawing(cell)) is not None)
    return (Gallery(title=title, caption=caption, drawings=drawings),) if drawings else ()


def _budget(cells: Sequence[CellConclusion]) -> Section | None:
    galleries = _gallery("What a budget buys", budget.CAPTION, cells, budget.draw_budget)
    if not galleries:
        return None
    return Section(name="budget", title="Budget", galleries=galleries)


def _response(cells: Sequence[CellConclusion]) -> Section | None:
    galleries = _gallery("Learning-rate response", response.CAPTION, cells, response.draw_response)
    if not galleries:
        return None
    return Section(
        name="learning-rate",
        title="Learning rate",
        points=_said(cells, response.say_response),
        galleries=galleries,
    )


def _sizes(conclusions: Conclusions) -> Section | None:
    if not conclusions.ladders:
        return None
    ladders = conclusions.ladders[:MOST_CELLS_DRAWN]
    return Section(
        name="size",
        title="Training size",
        points=tuple(
            f"{ladder.upstream} → {ladder.downstream}, {ladder.model}. {sizes.say_ladder(ladder)}"
            for ladder in ladders
        ),
        galleries=(
            Gallery(
                title="Difference against training size",
                caption=sizes.CAPTION,
                drawings=tuple(sizes.draw_ladder(ladder) for ladder in ladders),
            ),
        ),
    )


def _convergence(cells: Sequence[CellConclusion]) -> Section | None:
    galleries = _gallery(
        "Score against epochs",
        convergence.CAPTION,
        cells,
        lambda cell: convergence.draw_convergence(cell, "epochs"),
    ) + _gallery(
        "Score against seconds",
        convergence.CAPTION,
        cells,
        lambda cell: convergence.draw_convergence(cell, "seconds"),
    )
    if not galleries:
        return None
    return Section(
        name="time",
        title="Training time",
        points=_said(cells, convergence.say_convergence),
        galleries=galleries,
    )


def _waterfall(conclusions: Conclusions, cells: Sequence[CellConclusion]) -> Section | None:
    drawings = tuple(
        drawing
        for cell in cells
        for regime, steps in cell.waterfalls.items()
        if (drawing := waterfall.draw_waterfall(cell.cell, regime, steps)) is not None
    )
    if not drawings:
        return None
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions, regime),
            step.name,
            words.score(step.reference),
            words.score(step.arm),
            words.signed(step.difference),
            words.signed(step.change),
            words.MISSING if step.share_explained is None else f"{step.share_explained:.0%}",
        )
        for cell in cells
        for regime, steps in cell.waterfalls.items()
        for step in steps
    )
    reference = words.regime_name(conclusions.evidence.comparison.regimes[0])
    return Section(
        name="published",
        title="From the published recipe to the fair one",
        tables=(
            PageTable(
                title="Steps, and the share of the published gap that each explains",
                columns=("cell", "step", reference, "arm", "difference", "change", "share"),
                rows=rows,
                text_columns=frozenset({0, 1}),
                is_folded=True,
            ),
        ),
        galleries=(Gallery(title="Waterfall", caption=waterfall.CAPTION, drawings=drawings),),
    )


def _pareto(cells: Sequence[CellConclusion]) -> Section | None:
    galleries = _gallery("Validation score and time", pareto.CAPTION, cells, pareto.draw_pareto)
    if not galleries:
        return None
    return Section(name="trade-off", title="Score against time", galleries=galleries)


def _parameters(conclusions: Conclusions) -> Section:
    drawing = draw_importance(conclusions.cells)
    names = sorted(
        {
            name
            for cell in conclusions.cells
            for arm in cell.arms.values()
            for winner in arm.winners.values()
            for name in winner.parameters
        }
    )
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions),
            words.regime_name(regime),
            str(replicate),
            f"{winner.number}{' (published)' * (winner.recipe == 'published')}",
            words.score(winner.value),
            *(words.parameter(winner.parameters.get(name)) for name in names),
        )
        for cell in conclusions.cells
        for regime, arm in cell.arms.items()
        for replicate, winner in sorted(arm.winners.items())
    )
    own = [
        f"{', '.join(sorted(group))} only in {words.regime_name(regime)}"
        for regime, group in conclusions.evidence.comparison.space.items()
        if regime in conclusions.evidence.comparison.regimes and isinstance(group, dict) and group
    ]
    paragraphs = ["Parameters that both arms tune have the same range in both."]
    if own:
        paragraphs.append(
            f"Tuned in one arm alone and paid for from that arm's own budget: {'; '.join(own)}."
        )
    return Section(
        name="parameters",
        title="Parameters",
        paragraphs=tuple(paragraphs),
        tables=(
            PageTable(
                title="Winners, chosen on validation",
                columns=("cell", "arm", "replicate", "trial", "validation", *names),
                rows=rows,
                text_columns=frozenset({0, 1}),
                is_folded=True,
            ),
        ),
        drawings=(drawing,) if drawing else (),
    )


def _cost(cells: Sequence[CellConclusion]) -> Section | None:
    galleries = _gallery("When transfer pays", cost.CAPTION, cells, cost.draw_cost)
    if not galleries:
        return None
    return Section(
        name="cost",
        title="Cost",
        points=_said(cells, cost.say_break_even),
        galleries=galleries,
    )


def _said(
    cells: Sequence[CellConclusion], say: Callable[[CellConclusion], list[str]]
) -> tuple[str, ...]:
    if len(cells) == 1:
        return tuple(say(cells[0]))
    return tuple(f"{cell.cell}. {' '.join(said)}" for cell in cells if (said := say(cell)))
