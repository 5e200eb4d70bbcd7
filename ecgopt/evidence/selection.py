"""Which trial of a study won: decided on validation alone."""

import math
from collections.abc import Iterable

from ecgopt.errors import UserError
from ecgopt.evidence.records import TrialEvidence

ELIGIBLE_RECIPES = ("tuned", "published")


def choose_winner(trials: Iterable[TrialEvidence]) -> TrialEvidence:
    """Return the complete trial with the best validation score; of equals, the lowest number.

    Pruned trials carry their last report as a value, and audit and extra runs were paid from
    outside the budget, so neither can win.

    Raises:
        UserError: no trial is eligible.
    """
    eligible = [trial for trial in trials if _may_win(trial)]
    if not eligible:
        raise UserError(
            "a winner needs at least one complete trial, but none of the study's trials is: "
            "let the workers finish, or widen the search space if every trial diverged"
        )
    return min(eligible, key=lambda trial: (-_score(trial), trial.number))


def choose_learning_rate(trials: Iterable[TrialEvidence]) -> TrialEvidence:
    """Return the best complete run of the published recipe, at its own or at another rate.

    Candidates are trial 0 and the `extra` runs beside the budget; of equals, the lowest number.

    Raises:
        UserError: all of them diverged.
    """
    candidates = [
        trial for trial in trials if trial.recipe in ("published", "extra") and _has_score(trial)
    ]
    if not candidates:
        raise UserError(
            "the published recipe must reach its end at one learning rate, but it diverged at all: "
            "raise diagnostics.learning_rates or lower the range of learning_rate"
        )
    return min(candidates, key=lambda trial: (-_score(trial), trial.number))


def _may_win(trial: TrialEvidence) -> bool:
    return trial.recipe in ELIGIBLE_RECIPES and _has_score(trial)


def _has_score(trial: TrialEvidence) -> bool:
    return trial.state == "complete" and trial.value is not None and math.isfinite(trial.value)


def _score(trial: TrialEvidence) -> float:
    assert trial.value is not None
    return trial.value
