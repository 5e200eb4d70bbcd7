"""How many labelled records the reference needs for the score that an arm gets with n."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.compare import InfluenceOf, scored_finals, shared
from ecgopt.analysis.influence import PatientInfluence, align_influences
from ecgopt.analysis.interval import PairedDifference, estimate_mean, subtract
from ecgopt.analysis.moderation import moderated_errors
from ecgopt.evidence.records import Comparison, Evidence
from ecgopt.shapes import Float

STEPS: Final = 24
"""Sizes that are tried between two neighbouring sizes of a ladder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualScore:
    """The reference's training size at which it scores as an arm does with `n_train` records."""

    upstream: str
    downstream: str
    model: str
    reference: str
    regime: str
    n_train: int
    n_equal: float | None
    """None where it is not within the sizes that were run."""
    low: float | None
    high: float | None
    """Ends of the interval; None where it does not end within the sizes that were run."""

    @property
    def factor(self) -> float | None:
        """`n_equal` in units of `n_train`."""
        return None if self.n_equal is None else self.n_equal / self.n_train


def equal_scores(evidence: Evidence, influence_of: InfluenceOf) -> tuple[EqualScore, ...]:
    """Return the equal size for each arm and each size of a ladder of two sizes or more.

    A ladder whose reference does not score higher at the largest size than at the smallest, beyond
    its interval, is left out: no number of records is then known to give a score.

    Between two sizes the reference's score is linear in the logarithm of the size. The interval
    holds each size at which the difference between the arm at n and the reference is within its own
    interval of zero (Fieller 1954), from runs and from patients.
    """
    _, *others = evidence.comparison.regimes
    return tuple(
        _equal(arms[name], own, ladder)
        for ladder in _ladders(evidence, influence_of)
        if ladder.rises
        for arms in ladder.rungs
        for name in others
        if (own := scored_finals(arms[name], influence_of, role="tuned"))
    )


def _ladders(evidence: Evidence, influence_of: InfluenceOf) -> Iterator["_Ladder"]:
    """Yield the ladders of two sizes or more whose reference has a final fit at each."""
    reference = evidence.comparison.regimes[0]
    groups: dict[tuple[str, str, str], list[dict[str, Arm]]] = {}
    for cell, arms in sort_into_arms(evidence).items():
        groups.setdefault((cell.upstream, cell.downstream, cell.model), []).append(arms)
    for group in groups.values():
        rungs = sorted(group, key=lambda arms: arms[reference].cell.n_train)
        scores = [scored_finals(arms[reference], influence_of, role="tuned") for arms in rungs]
        if len(rungs) > 1 and all(scores):
            yield _Ladder(
                rungs=rungs, reference=reference, scores=scores, comparison=evidence.comparison
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ladder:
    """The reference's final fits over several sizes."""

    rungs: Sequence[Mapping[str, Arm]]
    """All arms of each size, by growing size."""
    reference: str
    scores: Sequence[Mapping[Pair, PairedDifference]]
    comparison: Comparison

    @property
    def arms(self) -> list[Arm]:
        """The reference at each size."""
        return [arms[self.reference] for arms in self.rungs]

    @property
    def sizes(self) -> list[int]:
        """The training sizes."""
        return [arm.cell.n_train for arm in self.arms]

    @property
    def rises(self) -> bool:
        """Whether the largest size scores higher than the smallest, beyond the interval."""
        first, last = self.scores[0], self.scores[-1]
        gains = {pair: subtract(last[pair], first[pair]) for pair in last if pair in first}
        if not gains:
            return False
        estimate = estimate_mean(gains, shared_by_all=shared(self.comparison, *self.arms))
        (error,) = moderated_errors([estimate])
        return estimate.value > error.reach(self.comparison.confidence)

    def differences(
        self, own: Mapping[Pair, PairedDifference], log_size: float
    ) -> dict[Pair, PairedDifference]:
        """Return `own` minus the reference's scores at a size, pair by pair."""
        logs = [math.log(size) for size in self.sizes]
        right = min(max(int(np.searchsorted(logs, log_size)), 1), len(logs) - 1)
        share = (log_size - logs[right - 1]) / (logs[right] - logs[right - 1])
        below, above = self.scores[right - 1], self.scores[right]
        return {
            pair: subtract(own[pair], _between(below[pair], above[pair], share))
            for pair in own
            if pair in below and pair in above
        }


def _between(first: PairedDifference, second: PairedDifference, share: float) -> PairedDifference:
    value = (1 - share) * first.value + share * second.value
    if first.influence is None or second.influence is None:
        return PairedDifference(value=value, influence=None)
    patients, (ours, theirs) = align_influences((first.influence, second.influence))
    values = (1 - share) * ours + share * theirs
    influence = PatientInfluence(score=value, patients=patients, values=values)
    return PairedDifference(value=value, influence=influence)


def _equal(arm: Arm, own: Mapping[Pair, PairedDifference], ladder: _Ladder) -> EqualScore:
    reference = ladder.reference
    logs = np.log(ladder.sizes)
    grid = np.unique(
        np.concatenate([np.linspace(low, high, STEPS + 1) for low, high in pairwise(logs)])
    )
    estimates, reaches = [], []
    for log_size in grid:
        differences = ladder.differences(own, float(log_size))
        if not differences:
            return _result(arm, reference, None, None, None)
        in_common = shared(ladder.comparison, *ladder.arms, arm)
        estimate = estimate_mean(differences, shared_by_all=in_common)
        (error,) = moderated_errors([estimate])
        estimates.append(estimate.value)
        reaches.append(error.reach(ladder.comparison.confidence))
    values, reach = np.array(estimates), np.array(reaches)
    is_inside = np.abs(values) <= reach
    n_equal = _crossing(grid, values)
    if n_equal is None or not is_inside.any():
        return _result(arm, reference, n_equal, None, None)
    inside = np.flatnonzero(is_inside)
    low, high = inside[0], inside[-1]
    return _result(
        arm,
        reference,
        n_equal,
        None if low == 0 else math.exp(grid[low]),
        None if high == len(grid) - 1 else math.exp(grid[high]),
    )


def _crossing(grid: Float[np.ndarray, " part"], values: Float[np.ndarray, " part"]) -> float | None:
    """Return the last size at which the reference overtakes the arm."""
    if (exact := np.flatnonzero(values == 0)).size:
        return float(math.exp(grid[exact[-1]]))
    changes = np.flatnonzero((values[:-1] > 0) & (values[1:] < 0))
    if not changes.size:
        return None
    left = changes[-1]
    share = values[left] / (values[left] - values[left + 1])
    return float(math.exp(grid[left] + share * (grid[left + 1] - grid[left])))


def _result(
    arm: Arm, reference: str, n_equal: float | None, low: float | None, high: float | None
) -> EqualScore:
    cell = arm.cell
    return EqualScore(
        upstream=cell.upstream,
        downstream=cell.downstream,
        model=cell.model,
        reference=reference,
        regime=arm.regime,
        n_train=cell.n_train,
        n_equal=n_equal,
        low=low,
        high=high,
    )
