"""What a budget buys: the expected score of the best trial among any k of a study's trials."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm, budget_trials
from ecgopt.evidence.records import TrialEvidence
from ecgopt.shapes import Float

BAND = 0.8
"""Share of all draws of k trials whose best score lies in the band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetCurve:
    """Expected validation score of the best of k trials, for k = 1, 2, ... n."""

    expected: Float[np.ndarray, " trial"]
    low: Float[np.ndarray, " trial"]
    high: Float[np.ndarray, " trial"]


def _weights(n_complete: int, n_unusable: int) -> Float[np.ndarray, "trial other"]:
    """Return P(best of k is the i-th smallest complete trial), a row per k.

    The k trials are drawn without replacement. Pruned and diverged trials are spent but cannot
    win, so the probabilities are over draws that hold at least one complete trial.

    Source: Tang et al. 2020, arXiv:2004.13705, equation 4; Dodge et al. 2019 is biased.
    """
    total = n_complete + n_unusable
    weights = np.zeros((total, n_complete))
    for k in range(1, total + 1):
        possible = math.comb(total, k) - math.comb(n_unusable, k)
        for i in range(n_complete):
            weights[k - 1, i] = math.comb(n_unusable + i, k - 1) / possible
    return weights


def budget_curve(trials: Iterable[TrialEvidence]) -> BudgetCurve | None:
    """Return the budget curve of one study; None without a complete trial."""
    spent = [trial for trial in budget_trials(trials) if trial.state in ("complete", "pruned")]
    scores = np.sort([t.value for t in spent if t.state == "complete" and t.value is not None])
    if not len(scores):
        return None
    weights = _weights(len(scores), len(spent) - len(scores))
    below = np.cumsum(weights, axis=1)
    low, high = (
        scores[np.minimum((below < share - 1e-12).sum(axis=1), len(scores) - 1)]
        for share in ((1 - BAND) / 2, (1 + BAND) / 2)
    )
    return BudgetCurve(expected=weights @ scores, low=low, high=high)


def arm_curve(arm: Arm) -> BudgetCurve | None:
    """Return the mean of the replicates' budget curves, as long as the shortest of them."""
    curves = [curve for study in arm.studies if (curve := budget_curve(study.trials))]
    if not curves:
        return None
    length = min(len(curve.expected) for curve in curves)

    def mean(parts: Iterable[Float[np.ndarray, " trial"]]) -> Float[np.ndarray, " trial"]:
        return np.asarray(np.mean([part[:length] for part in parts], axis=0))

    return BudgetCurve(
        expected=mean(curve.expected for curve in curves),
        low=mean(curve.low for curve in curves),
        high=mean(curve.high for curve in curves),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetCrossover:
    """Which arm leads after the whole budget, and since how many trials."""

    leader: str | None
    """None where both end with the same score."""
    since_trials: int
    """From this many trials on the leader stays ahead; 1 means always."""


def budget_crossover(curves: Mapping[str, BudgetCurve]) -> BudgetCrossover:
    """Return who leads at the end and the budget at which the lead changed hands for good.

    Args:
        curves: Of two arms, the reference first.
    """
    (reference, first), (regime, second) = curves.items()
    length = min(len(first.expected), len(second.expected))
    lead = np.sign(second.expected[:length] - first.expected[:length])
    if lead[-1] == 0:
        return BudgetCrossover(leader=None, since_trials=length)
    others = np.flatnonzero(lead != lead[-1])
    return BudgetCrossover(
        leader=regime if lead[-1] > 0 else reference,
        since_trials=int(others[-1]) + 2 if len(others) else 1,
    )
