"""Figure 1: who scores what, by how much they differ, against n, and what a budget buys.

Each panel is drawn twice: alone, for the page, and on one sheet of 183 mm, for print.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ecgopt.analysis.conclude import ArmConclusion, CellConclusion, Conclusions
from ecgopt.evidence.records import FinalRole
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    FAINT,
    PAPER,
    PRINT_WIDTH,
    Drawing,
    Layout,
    add_legend,
    arm_style,
    draw,
    draw_composite,
    round_ticks,
    use_round_ticks,
)
from ecgopt.report.figures.forest import compared, draw_forest, paint_forest, row_labels

MOST_COLUMNS = 24
"""Columns of dots that a panel holds: arms times cells."""
MOST_LABELS = 14
_HEIGHT, _ROW = 150.0, 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    name: str
    title: str
    caption: str
    alt: str
    paint: Callable[[Axes], None]
    height: float = 170.0


def draw_panels(conclusions: Conclusions) -> tuple[Drawing, ...]:
    """Return the panels of Figure 1, one figure each."""
    drawings = []
    for letter, panel in zip("abcd", _panels(conclusions), strict=False):
        if panel.name == "differences":
            drawing = draw_forest(conclusions)
            assert drawing is not None
        else:
            drawing = draw(
                name=f"figure-1{letter}-{panel.name}",
                title="",
                alt=panel.alt,
                layout=Layout(panel_height=panel.height, left=_left(panel)),
                paint=panel.paint,
            )
        drawings.append(replace(drawing, title=f"{letter}  {panel.title}"))
    return tuple(drawings)


def _left(panel: _Panel) -> float:
    return 92.0 if panel.name == "diagnoses" else 50.0


def draw_figure_one(conclusions: Conclusions) -> Drawing | None:
    """Return all panels on one sheet for print; None where there is nothing to draw."""
    panels = _panels(conclusions)
    if not panels:
        return None
    n_rows = (len(panels) + 1) // 2
    n_arms = len(conclusions.evidence.comparison.regimes)
    top_margin = 14.0 + _LEGEND_ROW * ((n_arms + 2) // 3)
    margin = top_margin + _BELOW
    widest = max(
        (
            len(line)
            for label in row_labels(compared(conclusions), conclusions)
            for line in label.split("\n")
        ),
        default=0,
    )
    heights = [
        max(min(panel.height, 260.0) if panel.name == "differences" else _HEIGHT for panel in row)
        for row in (panels[:2], panels[2:])[:n_rows]
    ]

    def paint(figure: Figure) -> None:
        total = sum(heights) + n_rows * margin
        top = total
        for number, panel in enumerate(panels):
            row, column = divmod(number, 2)
            if number and column == 0:
                top -= heights[row - 1] + margin
            left, width = _places(panel, column, widest)
            axes = figure.add_axes(
                (
                    left / PRINT_WIDTH,
                    (top - heights[row] - top_margin) / total,
                    width / PRINT_WIDTH,
                    heights[row] / total,
                )
            )
            panel.paint(axes)
            use_round_ticks(axes, 5)
            figure.text(
                (column * PRINT_WIDTH / 2 + 2) / PRINT_WIDTH,
                (top - 8) / total,
                "abcd"[number],
                weight="bold",
                fontsize=8,
            )

    return draw_composite(
        name="figure-1",
        title="Figure 1. Scores, differences and cost of a search",
        caption=" ".join(
            f"({letter}) {panel.caption}" for letter, panel in zip("abcd", panels, strict=False)
        )
        + " For print: figures/figure-1.svg and .pdf, 183 mm wide.",
        alt=" ".join(panel.alt for panel in panels),
        height=sum(heights) + n_rows * margin,
        paint=paint,
    )


_BELOW, _LEGEND_ROW = 30.0, 10.0


def _places(panel: _Panel, column: int, widest: int) -> tuple[float, float]:
    """Return left edge and width of a panel's axes, in points."""
    left = column * PRINT_WIDTH / 2
    if panel.name == "differences":
        labels = 10.0 + 3.7 * widest
        return left + labels, PRINT_WIDTH / 2 - labels - 104.0
    inset = 68.0 if panel.name == "diagnoses" else 40.0
    return left + inset, PRINT_WIDTH / 2 - inset - 12.0


def _panels(conclusions: Conclusions) -> list[_Panel]:
    build = (
        _scores(conclusions),
        _differences(conclusions),
        _sizes(conclusions) or _diagnoses(conclusions),
        _budget(conclusions),
    )
    return [panel for panel in build if panel is not None]


def _scores(conclusions: Conclusions) -> _Panel | None:
    groups = _groups(conclusions)
    if not groups:
        return None
    n_arms = len(conclusions.evidence.comparison.regimes)
    alt = " ".join(
        f"{label}: "
        + ", ".join(
            f"{words.regime_name(regime)} {words.score_interval(arm.intervals.get(role))}"
            for regime, arm in cell.arms.items()
        )
        + "."
        for label, cell, role in groups
    )
    n_cells = len({cell.cell for _, cell, _ in groups})
    some = f" of {n_cells} of {len(conclusions.cells)} cells" * (n_cells < len(conclusions.cells))
    return _Panel(
        name="scores",
        title="Test score of each arm",
        caption=(
            f"Test {words.metric(conclusions.evidence.comparison)}{some}: a dot per replicate "
            "(mean over seeds)"
            + (", joined where two arms share the replicate," if n_arms == 2 else "")
            + f" and the mean with its {conclusions.evidence.comparison.confidence:.0%} interval."
        ),
        alt=alt,
        paint=lambda panel: _paint_scores(panel, groups),
    )


def _groups(conclusions: Conclusions) -> list[tuple[str, CellConclusion, FinalRole]]:
    """Return the groups of columns: label, cell and recipe."""
    cells = [
        cell
        for cell in conclusions.cells
        if any(arm.intervals.get("tuned") for arm in cell.arms.values())
    ]
    if len(cells) == 1:
        (cell,) = cells
        roles: tuple[tuple[str, FinalRole], ...] = (
            ("published recipe", "published"),
            ("tuned", "tuned"),
        )
        return [
            (label, cell, role)
            for label, role in roles
            if any(arm.intervals.get(role) for arm in cell.arms.values())
        ]
    n_arms = len(conclusions.evidence.comparison.regimes)
    most = max(MOST_COLUMNS // n_arms, 2)
    if len(cells) > most:
        cells = [cells[round(i * (len(cells) - 1) / (most - 1))] for i in range(most)]
    labels = [words.cell_label(cell.cell, conclusions) for cell in cells]
    short = [label.replace(", ", "\n") for label in labels]
    return [(label, cell, "tuned") for label, cell in zip(short, cells, strict=True)]


def _paint_scores(panel: Axes, groups: Sequence[tuple[str, CellConclusion, FinalRole]]) -> None:
    regimes = list(groups[0][1].arms)
    width = len(regimes) + 1.0
    for number, (_, cell, role) in enumerate(groups):
        means = {regime: arm.arm.replicate_scores(role) for regime, arm in cell.arms.items()}
        if len(regimes) == 2:
            first, second = means.values()
            for replicate in first.keys() & second.keys():
                panel.plot(
                    [number * width, number * width + 1],
                    [first[replicate], second[replicate]],
                    color=FAINT,
                    linewidth=0.5,
                    zorder=1.5,
                )
        for index, (regime, arm) in enumerate(cell.arms.items()):
            place = number * width + index
            colour = ARM_COLOURS[index % len(ARM_COLOURS)]
            marker = ARM_MARKERS[index % len(ARM_MARKERS)]
            values = list(means[regime].values())
            panel.plot(
                [place] * len(values), values, marker, color=colour, alpha=0.45, markeredgewidth=0,
                label=words.regime_name(regime) if number == 0 else None,
            )  # fmt: skip
            interval = arm.intervals.get(role)
            if interval is not None and np.isfinite(interval.high):
                floor = 0.0 if interval.estimate >= 0 else -1.0
                beside = place + (0.22 if index else -0.22)
                panel.plot(
                    [beside, beside],
                    [max(interval.low, floor), min(interval.high, 1.0)],
                    color=colour,
                )
                panel.plot(beside, interval.estimate, "_", color=colour, markeredgewidth=1.5)
    middle = (len(regimes) - 1) / 2
    panel.set_xticks(
        [number * width + middle for number in range(len(groups))],
        [label for label, _, _ in groups],
    )
    panel.tick_params(axis="x", length=0)
    panel.set_xlim(-0.9, (len(groups) - 1) * width + len(regimes) - 0.1)
    panel.grid(visible=False, axis="x")
    panel.set_ylabel(f"test {groups[0][1].arms[regimes[0]].arm.metric.oriented_title}")
    add_legend(panel)


def _differences(conclusions: Conclusions) -> _Panel | None:
    found = compared(conclusions)
    if not found:
        return None
    comparison = conclusions.evidence.comparison
    return _Panel(
        name="differences",
        title="Paired difference and verdict",
        caption=(
            f"Paired difference of test {words.metric(comparison)} from "
            f"{words.reference_heading(comparison)}, tuned arms, with its "
            f"{comparison.confidence:.0%} interval over replicates, seeds and patients. "
            f"Shaded: the margin of ±{comparison.margin:g}. Symbols are verdicts."
        ),
        alt="",
        height=max(_ROW * len(found), 70.0),
        paint=lambda panel: paint_forest(panel, found, row_labels(found, conclusions)),
    )


def _sizes(conclusions: Conclusions) -> _Panel | None:
    """Return the scores against training size of the first ladder, if there is one."""
    ladders: dict[tuple[str, str, str], list[CellConclusion]] = {}
    for cell in conclusions.cells:
        if all(arm.intervals.get("tuned") for arm in cell.arms.values()):
            key = (cell.cell.upstream, cell.cell.downstream, cell.cell.model)
            ladders.setdefault(key, []).append(cell)
    long = {key: cells for key, cells in ladders.items() if len(cells) > 1}
    if not long:
        return None
    key, cells = next(iter(long.items()))
    cells = sorted(cells, key=lambda cell: cell.cell.n_train)
    which = f" ({words.ladder(*key)}; 1 of {len(long)} ladders)" * (len(long) > 1)
    return _Panel(
        name="sizes",
        title="Score against labelled records",
        caption=(
            f"Test {words.metric(conclusions.evidence.comparison)} against the number of labelled "
            f"records{which}: filled and joined, tuned, with intervals; hollow and dotted, the "
            "published recipe."
        ),
        alt=" ".join(
            f"n = {cell.cell.n_train:,}: "
            + ", ".join(
                f"{words.regime_name(regime)} {words.score(arm.test_score())}"
                for regime, arm in cell.arms.items()
            )
            + "."
            for cell in cells
        ),
        paint=lambda panel: _paint_sizes(panel, cells),
    )


def _paint_sizes(panel: Axes, cells: Sequence[CellConclusion]) -> None:
    sizes = np.array([cell.cell.n_train for cell in cells], dtype=float)
    n_arms = len(cells[0].arms)
    for index, regime in enumerate(cells[0].arms):
        style = arm_style(index)
        marker = ARM_MARKERS[index % len(ARM_MARKERS)]
        shifted = sizes * 1.03 ** (index - (n_arms - 1) / 2)
        tuned = [cell.arms[regime].intervals["tuned"] for cell in cells]
        panel.plot(
            shifted,
            [found.estimate for found in tuned],
            marker=marker,
            label=words.regime_name(regime),
            **style,
        )
        if n_arms <= 3:
            for place, found in zip(shifted, tuned, strict=True):
                if np.isfinite(found.high):
                    panel.plot(
                        [place, place], [found.low, min(found.high, 1.0)], color=style["color"],
                        linewidth=0.8,
                    )  # fmt: skip
        published = [cell.arms[regime].intervals.get("published") for cell in cells]
        known = [(x, found.estimate) for x, found in zip(shifted, published, strict=True) if found]
        if known and n_arms <= 3:
            panel.plot(
                *zip(*known, strict=True),
                marker=marker,
                color=style["color"],
                markerfacecolor=PAPER,
                linestyle=":",
                linewidth=0.8,
            )
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sizes.tolist()))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(sizes.tolist(), [f"{size:,.0f}" for size in sizes])
    panel.set_xlabel("labelled training records")
    panel.set_ylabel(f"test {cells[0].arms[regime].arm.metric.oriented_title}")
    add_legend(panel)


def _diagnoses(conclusions: Conclusions) -> _Panel | None:
    (cell, *others) = conclusions.cells or (None,)
    if cell is None or others:
        return None
    found = {
        regime: {label: fmean(values) for label, values in _per_label(arm).items()}
        for regime, arm in cell.arms.items()
    }
    labels = list(next(iter(found.values()), {}))[:MOST_LABELS]
    if not labels:
        return None
    return _Panel(
        name="diagnoses",
        title="Test score per diagnosis",
        caption="Test AUROC of each diagnosis, tuned arms, means over replicates and seeds.",
        alt=" ".join(
            f"{label}: "
            + ", ".join(
                f"{words.regime_name(regime)} {words.score(of_arm.get(label))}"
                for regime, of_arm in found.items()
            )
            + "."
            for label in labels
        ),
        height=max(16.0 * len(labels), 120.0),
        paint=lambda panel: _paint_diagnoses(panel, labels, found),
    )


def _per_label(arm: ArmConclusion) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for final in arm.arm.finals_by_pair("tuned").values():
        for label, value in final.per_label.items():
            if np.isfinite(value):
                found.setdefault(label, []).append(value)
    return found


def _paint_diagnoses(
    panel: Axes, labels: Sequence[str], found: dict[str, dict[str, float]]
) -> None:
    for index, (regime, of_arm) in enumerate(found.items()):
        rows = [row for row, label in enumerate(labels) if label in of_arm]
        panel.plot(
            [of_arm[labels[row]] for row in rows],
            rows,
            ARM_MARKERS[index % len(ARM_MARKERS)],
            color=ARM_COLOURS[index % len(ARM_COLOURS)],
            label=words.regime_name(regime),
        )
    panel.set_yticks(range(len(labels)), [words.with_minus(label) for label in labels])
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("test AUROC")
    add_legend(panel)


def _budget(conclusions: Conclusions) -> _Panel | None:
    """Return what more trials buy, mean over the cells in which every arm has a curve."""
    cells = [
        cell
        for cell in conclusions.cells
        if all(arm.curve is not None for arm in cell.arms.values())
    ]
    if not cells:
        return None
    curves = {regime: _mean_curve(cells, regime) for regime in cells[0].arms}
    over = f", mean over {len(cells)} cells" if len(cells) > 1 else ""
    return _Panel(
        name="budget",
        title="What a budget buys",
        caption=(
            f"Expected validation macro AUROC of the best among k trials{over}; the first point is "
            "one untuned guess."
        ),
        alt=" ".join(
            f"{words.regime_name(regime)} goes from {words.score(curve[0])} with one trial to "
            f"{words.score(curve[-1])} with {len(curve)}."
            for regime, curve in curves.items()
        ),
        paint=lambda panel: _paint_budget(panel, curves),
    )


def _mean_curve(cells: Sequence[CellConclusion], regime: str) -> list[float]:
    curves = [curve.expected for cell in cells if (curve := cell.arms[regime].curve) is not None]
    shortest = min(map(len, curves))
    return [float(value) for value in np.mean([curve[:shortest] for curve in curves], axis=0)]


def _paint_budget(panel: Axes, curves: dict[str, list[float]]) -> None:
    for index, (regime, curve) in enumerate(curves.items()):
        trials = range(1, len(curve) + 1)
        panel.plot(trials, curve, label=words.regime_name(regime), **arm_style(index))
    panel.xaxis.set_major_locator(round_ticks(integer=True))
    panel.set_xlabel("trials k")
    panel.set_ylabel("best validation AUROC of k")
    add_legend(panel)
