"""How early the final order of trials is known, and what pruned trials would have scored."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ecgopt.analysis.conclude import CellConclusion
from ecgopt.analysis.pruning_audit import AuditedTrial
from ecgopt.report import words
from ecgopt.report.figures.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    FAINT,
    Drawing,
    add_legend,
    arm_style,
    draw,
)

AGREEMENT_CAPTION = (
    "Spearman correlation between the score at a tenth of the schedule and the final score, over "
    "complete trials, mean over studies. Near 1 means that pruning at this step rarely errs."
)
AUDIT_CAPTION = (
    "Audited trials were pruned, then trained to their end outside the budget. A point right of "
    "the line would have beaten its study's winner: a false prune."
)


def draw_agreement(cells: Sequence[CellConclusion]) -> Drawing | None:
    """Return the rank agreement per ladder step; None without enough complete trials."""
    found: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        for regime, arm in cell.arms.items():
            for step, value in arm.pruning.rank_agreement.items():
                found.setdefault(regime, {}).setdefault(step, []).append(value)
    if not found:
        return None
    means = {
        regime: {step: float(np.mean(values)) for step, values in sorted(steps.items())}
        for regime, steps in found.items()
    }

    def paint(panel: Axes) -> None:
        for index, regime in enumerate(cells[0].arms):
            if regime in means:
                panel.plot(
                    [step * 10 for step in means[regime]],
                    list(means[regime].values()),
                    marker=ARM_MARKERS[index % len(ARM_MARKERS)],
                    label=words.regime_name(regime),
                    **arm_style(index),
                )
        panel.set_xlabel("share of the schedule, %")
        panel.set_ylabel("rank correlation")
        panel.set_ylim(min(0.0, *(min(steps.values()) - 0.05 for steps in means.values())), 1.02)
        add_legend(panel)

    return draw(
        name="pruning-agreement",
        title="How early the final order is known",
        caption=AGREEMENT_CAPTION,
        alt=" ".join(
            f"{words.regime_name(regime)}: {steps[min(steps)]:.2f} at {min(steps) * 10} %, "
            f"{steps[max(steps)]:.2f} at {max(steps) * 10} %."
            for regime, steps in means.items()
        ),
        paint=paint,
    )


def draw_audit(cells: Sequence[CellConclusion]) -> Drawing | None:
    """Return what audited trials reached; None where none was audited to its end."""
    found: dict[str, dict[tuple[str, int], AuditedTrial]] = {}
    for cell in cells:
        for regime, arm in cell.arms.items():
            for trial in arm.pruning.audited:
                if trial.final_value is not None:
                    found.setdefault(regime, {})[trial.study, trial.number] = trial
    if not found:
        return None

    def paint(panel: Axes) -> None:
        panel.axvline(0, color=FAINT, linewidth=1.2)
        for index, regime in enumerate(cells[0].arms):
            trials = list(found.get(regime, {}).values())
            gaps = [(t.final_value or 0.0) - t.winner_value for t in trials]
            started = [
                (t.value_when_pruned if t.value_when_pruned is not None else np.nan)
                - t.winner_value
                for t in trials
            ]
            panel.plot(
                gaps,
                started,
                ARM_MARKERS[index % len(ARM_MARKERS)],
                color=ARM_COLOURS[index % len(ARM_COLOURS)],
                label=words.regime_name(regime),
            )
        panel.set_xlabel("score at its end, minus the winner's")
        panel.set_ylabel("when pruned, minus the winner's")
        add_legend(panel)

    n_false = sum(t.would_have_won for trials in found.values() for t in trials.values())
    n_audited = sum(len(trials) for trials in found.values())
    return draw(
        name="pruning-audit",
        title="What pruned trials would have scored",
        caption=AUDIT_CAPTION,
        alt=f"{n_false} of {n_audited} audited trials would have beaten their study's winner.",
        paint=paint,
    )
