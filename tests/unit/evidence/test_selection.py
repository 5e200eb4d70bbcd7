import pytest

from ecgopt.errors import UserError
from ecgopt.evidence.records import TrialEvidence
from ecgopt.evidence.selection import choose_learning_rate, choose_winner


def trial(number, value, state="complete", recipe="tuned"):
    return TrialEvidence(number=number, state=state, value=value, parameters={}, recipe=recipe)


def test_the_best_complete_trial_wins():
    assert choose_winner([trial(0, 0.7), trial(1, 0.9), trial(2, 0.8)]).number == 1


def test_of_equals_the_lower_number_wins():
    assert choose_winner([trial(3, 0.9), trial(1, 0.9), trial(2, 0.8)]).number == 1


@pytest.mark.parametrize("state", ["pruned", "failed", "running", "waiting"])
def test_a_trial_that_is_not_complete_cannot_win(state):
    assert choose_winner([trial(0, 0.7), trial(1, 0.9, state=state)]).number == 0


@pytest.mark.parametrize("recipe", ["audit", "extra"])
def test_a_trial_from_outside_the_budget_cannot_win(recipe):
    assert choose_winner([trial(0, 0.7), trial(1, 0.9, recipe=recipe)]).number == 0


def test_the_own_learning_rate_is_that_of_the_best_run_of_the_published_recipe():
    published, tuned = trial(0, 0.7, recipe="published"), trial(1, 0.95)
    rates = [trial(1, 0.8, recipe="extra"), trial(2, 0.75, recipe="extra")]
    assert choose_learning_rate([published, tuned, *rates]) == rates[0]
    assert choose_learning_rate([published, tuned]) == published


def test_no_rate_at_which_the_published_recipe_ends_is_an_error():
    with pytest.raises(UserError, match=r"raise diagnostics\.learning_rates"):
        choose_learning_rate([trial(0, None, recipe="published"), trial(1, 0.9)])


def test_the_published_recipe_may_win():
    assert choose_winner([trial(0, 0.9, recipe="published"), trial(1, 0.8)]).number == 0


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_trial_without_a_score_cannot_win(value):
    assert choose_winner([trial(0, 0.7), trial(1, value)]).number == 0


def test_without_a_complete_trial_the_error_says_what_to_do():
    with pytest.raises(UserError, match="let the workers finish"):
        choose_winner([trial(0, 0.9, state="pruned")])
