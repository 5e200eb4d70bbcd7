"""The page's middle part: what the figures show, kind by kind."""

from dataclasses import replace

from ecgopt.analysis.conclude import Conclusions
from ecgopt.analysis.convergence import Convergence
from ecgopt.report import words
from ecgopt.report.figures import (
    budget,
    calibration,
    convergence,
    pareto,
    response,
    sizes,
    waterfall,
)
from ecgopt.report.figures.drawing import on_shared_axes
from ecgopt.report.figures.importance import draw_importance
from ecgopt.report.figures.summary import draw_figure_one, draw_panels
from ecgopt.report.page.cost import cost_section
from ecgopt.report.page.galleries import MOST_CELLS_DRAWN, MOST_ROWS_SHOWN, drawn_cells, gallery
from ecgopt.report.page.html import Gallery, PageTable, Section

UNITS: tuple[convergence.Unit, ...] = ("epochs", "seconds")


def figure_one_section(conclusions: Conclusions) -> Section | None:
    """Return the summary: the same panels as the figure for print, one under the other on a phone.

    None before any trial is complete.
    """
    panels, figure = draw_panels(conclusions), draw_figure_one(conclusions)
    if figure is None:
        return None
    return Section(
        name="figure-1",
        title="Figure 1",
        galleries=(Gallery(title=figure.title, caption=figure.caption, drawings=panels),),
        for_print=(figure,),
    )


def figure_sections(conclusions: Conclusions) -> list[Section]:
    """Return the sections that have something to show."""
    build = (
        _calibration(conclusions),
        _budget(conclusions),
        _response(conclusions),
        _sizes(conclusions),
        _convergence(conclusions),
        _waterfall(conclusions),
        _pareto(conclusions),
        _parameters(conclusions),
        cost_section(conclusions),
    )
    return [section for section in build if section is not None]


def _calibration(conclusions: Conclusions) -> Section | None:
    galleries = gallery(
        conclusions, "Calibration curve", calibration.CAPTION, calibration.draw_calibration
    )
    if not galleries:
        return None
    return Section(name="calibration", title="Calibration", galleries=galleries)


def _budget(conclusions: Conclusions) -> Section | None:
    galleries = gallery(conclusions, "What a budget buys", budget.CAPTION, budget.draw_budget)
    return Section(name="budget", title="Budget", galleries=galleries) if galleries else None


def _response(conclusions: Conclusions) -> Section | None:
    galleries = gallery(
        conclusions, "Learning-rate response", response.CAPTION, response.draw_response
    )
    if not galleries:
        return None
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions),
            words.regime_name(regime),
            f"{found.best_rate:.2g}",
            f"{found.basin[0]:.2g} to {found.basin[1]:.2g}",
            f"{found.basin_decades:.1f}",
            f"{found.share_good:.0%}",
        )
        for cell in conclusions.cells
        for regime, arm in cell.arms.items()
        if (found := arm.response) is not None
    )
    table = PageTable(
        title="Is an arm better, or only easier to tune?",
        columns=(
            "cell",
            "arm",
            "best rate",
            "within the margin of the best",
            "decades",
            "trials within the margin",
        ),
        rows=rows,
        text_columns=frozenset({0, 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )
    return Section(
        name="learning-rate", title="Learning rate", tables=(table,), galleries=galleries
    )


def _sizes(conclusions: Conclusions) -> Section | None:
    if not conclusions.ladders:
        return None
    comparison = conclusions.evidence.comparison
    ladders = conclusions.ladders[:MOST_CELLS_DRAWN]
    return Section(
        name="size",
        title="Training size",
        points=tuple(
            f"{words.ladder(ladder.upstream, ladder.downstream, ladder.model)}"
            f"{f', {words.pair_name(ladder, comparison)}' * (len(comparison.regimes) > 2)}. "
            f"{sizes.say_ladder(ladder)}"
            for ladder in ladders
        ),
        tables=(_equal_scores(conclusions),) if conclusions.equal_scores else (),
        galleries=(
            Gallery(
                title="Difference against training size",
                caption=sizes.CAPTION,
                drawings=tuple(sizes.draw_ladder(ladder) for ladder in ladders),
            ),
        ),
    )


def _equal_scores(conclusions: Conclusions) -> PageTable:
    """Return how many labelled records the reference needs for each arm's scores."""
    reference = words.regime_name(conclusions.evidence.comparison.regimes[0])
    rows = tuple(
        (
            words.ladder(found.upstream, found.downstream, found.model),
            words.regime_name(found.regime),
            f"{found.n_train:,}",
            _records(found.n_equal),
            f"{_records(found.low)} to {_records(found.high)}",
            words.MISSING if found.factor is None else f"{found.factor:.1f}",
        )
        for found in conclusions.equal_scores
    )
    return PageTable(
        title=f"Labelled records that {reference} needs for the same test score; a dash means: "
        "beyond the sizes that were run",
        columns=("ladder", "arm", "n", f"n of {reference}", "interval", "factor"),
        rows=rows,
        text_columns=frozenset({0, 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def _records(count: float | None) -> str:
    return words.MISSING if count is None else f"{count:,.0f}"


def _convergence(conclusions: Conclusions) -> Section | None:
    by_unit = {
        unit: tuple(
            replace(drawn, title=words.cell_label(cell.cell, conclusions))
            for cell in drawn_cells(conclusions)
            if (drawn := convergence.draw_convergence(cell, unit)) is not None
        )
        for unit in UNITS
    }
    if not by_unit["epochs"]:
        return None
    rows = tuple(
        (words.cell_label(cell.cell, conclusions), words.regime_name(regime), *_times(found))
        for cell in conclusions.cells
        for regime, arm in cell.arms.items()
        if (found := arm.convergence) is not None
    )
    table = PageTable(
        title="Epochs until a final fit has 95% of its own gain over chance, and until it "
        "reaches a common score; means over the fits that reach it",
        columns=(
            "cell",
            "arm",
            "epochs to 95%",
            "common score",
            "epochs to it",
            "time to it",
            "fits that reach it",
        ),
        rows=rows,
        text_columns=frozenset({0, 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )
    galleries = tuple(
        Gallery(
            title=f"Score against {unit}",
            caption=convergence.CAPTION,
            drawings=on_shared_axes(drawings),
        )
        for unit, drawings in by_unit.items()
    )
    return Section(name="time", title="Training time", tables=(table,), galleries=galleries)


def _times(found: Convergence) -> tuple[str, ...]:
    reached = [each for each in found.common_target if each is not None]
    own = sum(each.epochs for each in found.own_best) / len(found.own_best)
    share = f"{len(reached)} of {len(found.common_target)}"
    if not reached:
        return f"{own:.1f}", words.score(found.target), words.MISSING, words.MISSING, share
    epochs = sum(each.epochs for each in reached) / len(reached)
    seconds = sum(each.seconds for each in reached) / len(reached)
    return f"{own:.1f}", words.score(found.target), f"{epochs:.1f}", words.duration(seconds), share


def _waterfall(conclusions: Conclusions) -> Section | None:
    cells = drawn_cells(conclusions)
    reference, *others = conclusions.evidence.comparison.regimes
    drawn = "fine_tune" if "fine_tune" in others else others[0]
    drawings = tuple(
        replace(drawing, title=words.cell_label(cell.cell, conclusions, regime))
        for cell in cells
        for regime, steps in cell.waterfalls.items()
        if regime == drawn
        if (drawing := waterfall.draw_waterfall(cell.cell, reference, regime, steps)) is not None
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
            words.MISSING
            if step.share_explained is None or not 0 <= step.share_explained <= 1
            else f"{step.share_explained:.0%}",
        )
        for cell in cells
        for regime, steps in cell.waterfalls.items()
        for step in steps
    )
    return Section(
        name="published",
        title="From the published recipe to the fair one",
        tables=(
            PageTable(
                title="Steps, and the share of the first gap that each explains",
                columns=(
                    "cell",
                    "step",
                    words.regime_name(reference),
                    "arm",
                    "difference",
                    "change",
                    "share",
                ),
                rows=rows,
                text_columns=frozenset({0, 1}),
                is_folded=True,
            ),
        ),
        galleries=(
            Gallery(
                title="Waterfall",
                caption=waterfall.caption(
                    next(
                        cell.waterfalls[drawn] for cell in cells if len(cell.waterfalls[drawn]) > 1
                    )
                ),
                drawings=on_shared_axes(drawings)
                if len({len(cell.waterfalls[drawn]) for cell in cells}) == 1
                else drawings,
            ),
        ),
    )


def _pareto(conclusions: Conclusions) -> Section | None:
    galleries = gallery(
        conclusions, "Validation score and time", pareto.CAPTION, pareto.draw_pareto
    )
    if not galleries:
        return None
    return Section(name="trade-off", title="Trade-off", galleries=galleries)


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
    comparison = conclusions.evidence.comparison
    shared = comparison.space.get("shared", {}).keys()
    own = [
        f"{', '.join(sorted(names))} only in {words.regime_name(regime)}"
        for regime in comparison.regimes
        if (names := comparison.ranges_of(regime).keys() - shared)
    ]
    paragraphs = ["Parameters that several arms tune have one range for all of them."]
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
