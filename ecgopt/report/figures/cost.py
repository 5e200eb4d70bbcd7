"""What k targets cost in all with and without transfer, and where the lines cross."""

from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    FAINT,
    Drawing,
    add_legend,
    arm_style,
    draw,
    round_ticks,
    slug,
)

CAPTION = (
    "Training time for k targets like this one: tuning and final fits of one replicate per target, "
    "and pre-training paid once. Dotted: from here on transfer is the cheaper one, all included."
)
FEWEST_TARGETS, MOST_TARGETS = 6, 60


def draw_cost(cell: CellConclusion) -> Drawing | None:
    """Return the cost against the number of targets; None before any trial."""
    if not any(arm.cost.tuning.seconds for arm in cell.arms.values()):
        return None
    crossings = [
        even.seconds
        for regime, even in cell.break_even.items()
        if even.seconds is not None and cell.arms[regime].cost.pretraining.epochs
    ]
    last = min(max([FEWEST_TARGETS, *(2 * crossing for crossing in crossings)]), MOST_TARGETS)
    targets = range(0, last + 1)
    most = max(arm.cost.pretraining.seconds + last * arm.cost.per_target.seconds
               for arm in cell.arms.values())  # fmt: skip
    unit, name_of_unit = words.unit_of_time(most)

    def paint(panel: Axes) -> None:
        for index, (regime, arm) in enumerate(cell.arms.items()):
            cost = arm.cost
            spent = [
                (cost.pretraining.seconds + k * cost.per_target.seconds) / unit for k in targets
            ]
            panel.plot(targets, spent, label=words.regime_name(regime), **arm_style(index))
        for crossing in crossings:
            if crossing <= last:
                panel.axvline(crossing, color=FAINT, linestyle=":", linewidth=1.2)
        panel.xaxis.set_major_locator(round_ticks(7, integer=True))
        panel.set_xlabel("targets")
        panel.set_ylabel(f"training {name_of_unit}")
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        add_legend(panel)

    return draw(
        name=slug("cost", cell.cell),
        title=words.whole_cell(cell.cell),
        alt=" ".join(say_break_even(cell)),
        paint=paint,
    )


def say_break_even(cell: CellConclusion) -> list[str]:
    """Return a sentence per regime on when pre-training has paid for itself."""
    said = []
    for regime, even in cell.break_even.items():
        if not cell.arms[regime].cost.pretraining.epochs:
            continue
        name = words.regime_name(regime)
        parts = [
            f"{count:,} target{'s' * (count != 1)} in {unit}" if count else f"never in {unit}"
            for unit, count in (
                ("seconds", even.seconds),
                ("epochs", even.epochs),
                ("samples", even.samples),
            )
        ]
        said.append(f"{name} pays for its pre-training after {', '.join(parts)}.")
    return said
