"""The trade between validation score and training time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecgopt.analysis.arms import Arm


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
