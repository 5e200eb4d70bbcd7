"""How far probabilities can be taken at their word: a reliability diagram of each cell."""

from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_MARKERS,
    FAINT,
    Drawing,
    add_legend,
    arm_style,
    draw,
    slug,
)

CAPTION = (
    "Test records, with the probabilities of all labels together, in ten groups of equal size: the "
    "share that carries the label against the mean probability, over the tuned final fits. On the "
    "diagonal, probabilities are right; below it they are too high. Bars are intervals of the "
    "share, over patients and runs. The expected calibration error above is the mean distance "
    "from the diagonal, label by label."
)


def draw_calibration(cell: CellConclusion) -> Drawing | None:
    """Return the reliability diagram of one cell; None without any kept predictions."""
    curves = {regime: arm.calibration for regime, arm in cell.arms.items() if arm.calibration}
    if not curves:
        return None
    said = "; ".join(
        f"{words.regime_name(regime)}: of records with a mean probability of "
        f"{words.score(curve[-1].predicted, 2)}, {curve[-1].observed.estimate:.0%} carry the label"
        for regime, curve in curves.items()
    )

    def paint(panel: Axes) -> None:
        panel.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0)
        for index, (regime, arm) in enumerate(cell.arms.items()):
            shares = [point.observed for point in arm.calibration]
            predicted = [point.predicted for point in arm.calibration]
            style = arm_style(index)
            panel.vlines(
                predicted,
                [max(share.low, 0.0) for share in shares],
                [min(share.high, 1.0) for share in shares],
                color=style["color"],
                linewidth=1.2,
                alpha=0.6,
            )
            if shares:
                panel.plot(
                    predicted,
                    [share.estimate for share in shares],
                    marker=ARM_MARKERS[index % len(ARM_MARKERS)],
                    markersize=4.0,
                    linewidth=1.2,
                    label=words.regime_name(regime),
                    **style,
                )
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1)
        panel.set_xlabel("mean probability")
        panel.set_ylabel("share with the label")
        add_legend(panel)

    return draw(
        name=slug("calibration", cell.cell), title=str(cell.cell), alt=f"{said}.", paint=paint
    )
