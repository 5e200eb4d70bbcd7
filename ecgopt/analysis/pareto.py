"""The trade between score and training time: of trials, and of whole arms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ecgopt.analysis.arms import Arm
from ecgopt.analysis.cost import ArmCost


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TradePoint:
    """One complete trial."""

    seconds: float
    value: float
    regime: str
    number: int


def trade_points(arms: Iterable[Arm]) -> tuple[TradePoint, ...]:
    """Return every complete trial of `arms`."""
    return tuple(
        TradePoint(seconds=trial.seconds, value=trial.value, regime=arm.regime, number=trial.number)
        for arm in arms
        for trial in arm.budget_trials()
        if trial.state == "complete" and trial.value is not None
    )


def front(points: Sequence[TradePoint]) -> tuple[TradePoint, ...]:
    """Return the points that no other beats in both time and score, from fast to slow."""
    kept: list[TradePoint] = []
    for point in sorted(points, key=lambda p: (p.seconds, -p.value)):
        if not kept or point.value > kept[-1].value:
            kept.append(point)
    return tuple(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTrade:
    """What one arm scores in a cell, and what that took."""

    regime: str
    score: float
    """Test score of the tuned arm that verdicts rest on, the mean over replicates and seeds."""
    seconds: float
    """Training time for one target: tuning and final fits of one replicate, and pre-training."""
    samples: int
    """Training samples in the same."""
    is_on_front: bool
    """Whether no other arm is both at least as quick and at least as good."""


def arm_trades(arms: Mapping[str, tuple[float | None, ArmCost]]) -> tuple[ArmTrade, ...]:
    """Return the arms of a cell that have a test score, from the quickest to the slowest.

    Args:
        arms: Test score and cost, by the arm's name.
    """
    points = [
        TradePoint(
            seconds=cost.pretraining.seconds + cost.per_target.seconds,
            value=score,
            regime=name,
            number=0,
        )
        for name, (score, cost) in arms.items()
        if score is not None
    ]
    best = front(points)
    return tuple(
        ArmTrade(
            regime=point.regime,
            score=point.value,
            seconds=point.seconds,
            samples=arms[point.regime][1].pretraining.samples
            + arms[point.regime][1].per_target.samples,
            is_on_front=point in best,
        )
        for point in sorted(points)
    )
