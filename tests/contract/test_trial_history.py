"""A study's history as samplers and pruners get it: what Optuna itself reads, on every database."""

import math

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from ecgopt.database.engine import open_database, quiet_optuna
from ecgopt.database.optuna.trial_history import read_trials

DISTRIBUTIONS = {
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "epochs": IntDistribution(8, 100, log=True),
}


@pytest.fixture
def study(url):
    quiet_optuna()
    database = open_database(url)
    study = optuna.create_study(storage=database.optuna, direction="maximize")
    study.add_trials([complete(0.7), complete(math.inf), pruned(), failed()])
    study.ask(DISTRIBUTIONS).report(0.6, 1)
    study.enqueue_trial({"epochs": 20}, user_attrs={"note": "a user's own"})
    yield study
    database.engine.dispose()


def complete(value):
    return create_trial(
        params={"learning_rate": 0.01, "epochs": 20},
        distributions=DISTRIBUTIONS,
        intermediate_values={2: 0.5, 10: value},
        value=value,
        user_attrs={"run": {"cause": "done", "seconds": 1.5}},
        system_attrs={"fixed_params": {"epochs": 20}},
    )


def pruned():
    return create_trial(state=TrialState.PRUNED, intermediate_values={3: -math.inf}, value=0.5)


def failed():
    return create_trial(state=TrialState.FAIL, user_attrs={"cause": "lost"})


def test_trials_in_every_state_are_read_as_optuna_reads_them(study):
    expected = study.get_trials()
    with study._storage._backend.engine.begin() as connection:
        found = read_trials(connection, [trial._trial_id for trial in expected])
    assert [vars(trial) for trial in found] == [vars(trial) for trial in expected]


def test_a_score_that_is_no_number_is_read_as_such(study):
    trial = study.ask()
    trial.report(math.nan, 1)
    with study._storage._backend.engine.begin() as connection:
        [found] = read_trials(connection, [trial._trial_id])
    assert math.isnan(found.intermediate_values[1])


def test_no_trials_are_read_for_no_ids(study):
    with study._storage._backend.engine.begin() as connection:
        assert read_trials(connection, []) == []


def test_begun_trials_are_known_without_those_that_wait(study):
    states = (TrialState.RUNNING, TrialState.COMPLETE)
    found = study.get_trials(deepcopy=False, states=states)
    assert [trial.number for trial in found] == [0, 1, 4]


def test_a_trial_that_has_ended_since_is_read_again(study):
    states = (TrialState.RUNNING, TrialState.COMPLETE)
    study.get_trials(deepcopy=False, states=states)
    study.tell(4, 0.9)
    assert study.get_trials(deepcopy=False, states=states)[-1].value == 0.9
