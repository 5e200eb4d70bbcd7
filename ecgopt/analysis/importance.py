"""Which parameters decided the score within each arm."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ecgopt.analysis.arms import Arm, budget_trials
from ecgopt.evidence.records import ParameterValue, TrialEvidence

FEWEST_TRIALS = 8


def parameter_importance(arm: Arm) -> dict[str, float]:
    """Return each parameter's share of the score's variation, the mean over replicates.

    Empty where no replicate has enough complete trials. Only complete trials count: the last report
    of a pruned one is not comparable.

    Source: PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255, through Optuna.
    """
    shares = [found for study in arm.studies if (found := _importance(study.trials))]
    names = sorted({name for found in shares for name in found})
    means = {name: float(np.mean([found.get(name, 0.0) for found in shares])) for name in names}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _importance(trials: Sequence[TrialEvidence]) -> dict[str, float]:
    complete = [
        trial
        for trial in budget_trials(trials)
        if trial.state == "complete" and trial.value is not None and math.isfinite(trial.value)
    ]
    if len(complete) < FEWEST_TRIALS:
        return {}
    names = sorted(set.intersection(*(set(trial.parameters) for trial in complete)))
    distributions = {
        name: distribution
        for name in names
        if (distribution := _distribution([t.parameters[name] for t in complete])) is not None
    }
    if not distributions:
        return {}
    return _evaluate(complete, distributions)


def _evaluate(
    trials: Sequence[TrialEvidence], distributions: Mapping[str, BaseDistribution]
) -> dict[str, float]:
    verbosity = optuna.logging.get_verbosity()
    # Optuna announces every study it makes, in memory too.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        for trial in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: trial.parameters[name] for name in distributions},
                    distributions=dict(distributions),
                    value=trial.value,
                )
            )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _distribution(values: Sequence[ParameterValue]) -> BaseDistribution | None:
    """Return the range that the trials really covered; None for a constant."""
    if len(set(values)) < 2:
        return None
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values) or any(isinstance(value, bool) for value in values):
        return CategoricalDistribution(sorted(set(values), key=str))
    low, high = min(numbers), max(numbers)
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=low > 0 and high / low > 30)
