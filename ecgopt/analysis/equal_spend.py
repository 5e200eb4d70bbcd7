"""The arms at an equal number of epochs or seconds instead of an equal number of trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecgopt.analysis.arms import Arm, budget_trials
from ecgopt.evidence.records import StudyEvidence, TrialEvidence

Unit = Literal["epochs", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualSpend:
    """The best validation score of each arm when all stop at the spend of the cheapest."""

    unit: Unit
    limit: float
    """Mean over replicates."""
    best: Mapping[str, float]
    """Regime to mean best validation score over replicates."""


def equal_spend(arms: Mapping[str, Arm], unit: Unit) -> EqualSpend | None:
    """Return the arms at equal spend; None where an arm has no complete trial within it.

    Trials count in the order of their numbers, as they were proposed, so that quick trials are not
    preferred. A trial that does not fit into the limit as a whole is left out.
    """
    limits, scores = [], []
    for replicate in sorted({s.replicate for arm in arms.values() for s in arm.studies}):
        studies = {
            regime: study
            for regime, arm in arms.items()
            for study in arm.studies
            if study.replicate == replicate
        }
        if len(studies) < len(arms):
            continue
        limit = min(
            sum(_spend(trial, unit) for trial in budget_trials(study.trials))
            for study in studies.values()
        )
        best = {regime: _best_within(study, limit, unit) for regime, study in studies.items()}
        known = {regime: score for regime, score in best.items() if score is not None}
        if len(known) == len(arms):
            limits.append(limit)
            scores.append(known)
    if not scores:
        return None
    return EqualSpend(
        unit=unit,
        limit=float(np.mean(limits)),
        best={regime: float(np.mean([score[regime] for score in scores])) for regime in arms},
    )


def _spend(trial: TrialEvidence, unit: Unit) -> float:
    return trial.n_epochs if unit == "epochs" else trial.seconds


def _best_within(study: StudyEvidence, limit: float, unit: Unit) -> float | None:
    spent, best = 0.0, None
    for trial in sorted(budget_trials(study.trials), key=lambda trial: trial.number):
        spent += _spend(trial, unit)
        if spent > limit * (1 + 1e-12):
            break
        if trial.state == "complete" and trial.value is not None:
            best = trial.value if best is None else max(best, trial.value)
    return best
