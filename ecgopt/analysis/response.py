"""How each arm answers to the learning rate: is an arm better, or only easier to tune?"""

import math
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm

PARAMETER = "learning_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePoint:
    """One trial on the response."""

    rate: float
    value: float
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRateResponse:
    """The learning rates an arm tried, and how forgiving it is."""

    points: tuple[ResponsePoint, ...]
    best_rate: float
    """Geometric mean of the replicates' winners."""
    basin: tuple[float, float]
    """Lowest and highest rate among complete trials within the margin of their study's best."""
    share_good: float
    """Share of tuned trials, pruned and diverged ones too, within the margin of the best."""

    @property
    def basin_decades(self) -> float:
        """Width of the basin in powers of ten."""
        return math.log10(self.basin[1] / self.basin[0])


def learning_rate_response(arm: Arm, margin: float) -> LearningRateResponse | None:
    """Return the arm's response; None without a complete trial that has a learning rate.

    Args:
        arm: Over all its replicates; each trial is judged against its own study's best.
        margin: Of macro AUROC that still counts as good.
    """
    winners = arm.winners()
    points, good, n_tuned = [], [], 0
    for study in arm.studies:
        best = winners[study.replicate].value if study.replicate in winners else None
        for trial in study.trials:
            rate = trial.parameters.get(PARAMETER)
            if trial.recipe not in ("tuned", "published") or not isinstance(rate, float):
                continue
            is_complete = trial.state == "complete"
            n_tuned += trial.state in ("complete", "pruned")
            if trial.value is not None and math.isfinite(trial.value):
                points.append(ResponsePoint(rate=rate, value=trial.value, is_complete=is_complete))
                if is_complete and best is not None and trial.value >= best - margin:
                    good.append(rate)
    rates = [w.parameters[PARAMETER] for w in winners.values() if PARAMETER in w.parameters]
    if not good or not rates:
        return None
    return LearningRateResponse(
        points=tuple(points),
        best_rate=float(np.exp(np.mean(np.log([float(rate) for rate in rates])))),
        basin=(min(good), max(good)),
        share_good=len(good) / n_tuned,
    )
