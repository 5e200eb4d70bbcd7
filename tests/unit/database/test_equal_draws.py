"""Arms start from equal random draws, and the sampler learns from the arm's own recipe alone."""

import optuna
import pytest
from scripted_worker import begin_scripted, scripted_study

from ecgopt.database.optuna.studies import open_study, propose, slot_trial
from ecgopt.database.optuna.trial_rows import RECIPE
from ecgopt.study_file.cells import expand_studies, study_name

N_STARTUP = 3
LAG = 4


@pytest.fixture
def begun(tmp_path):
    study = scripted_study(
        tmp_path,
        regimes='["scratch", "fine_tune"]',
        own="[space.fine_tune]\nfrozen_stages = { low = 0, high = 5 }",
        trials=8,
    )
    return begin_scripted(study, f"sqlite:///{tmp_path / 'db.sqlite3'}")


def proposals(spec, database, key, slots):
    space = spec.search_space(key.regime, key.model)
    studies = {slot: open_study(database, spec, key, slot) for slot in slots}
    return [propose(study, slot_trial(study, slot), space) for slot, study in studies.items()]


def test_parameters_that_arms_share_start_from_equal_draws_whatever_else_an_arm_searches(begun):
    spec, database = begun
    first, other = expand_studies(spec)
    ours, theirs = (proposals(spec, database, key, range(1, N_STARTUP)) for key in (first, other))
    assert all(set(theirs[n]) - set(ours[n]) == {"frozen_stages"} for n in range(len(ours)))
    for one, two in zip(ours, theirs, strict=True):
        assert {name: two[name] for name in one} == one
    assert len({one["learning_rate"] for one in ours}) == len(ours)


class Recorder(optuna.samplers.RandomSampler):
    """Remembers the history that it was shown."""

    seen = ()

    def before_trial(self, study, trial):
        type(self).seen = tuple(each.number for each in study._get_trials(use_cache=True))


def test_the_sampler_is_not_shown_the_published_recipe(begun, monkeypatch):
    spec, database = begun
    key = expand_studies(spec)[0]
    study = optuna.load_study(study_name=study_name(spec.name, key), storage=database.optuna)
    assert study.trials[0].user_attrs[RECIPE] == "published"
    for number, value in ((0, 0.9), (1, 0.6)):
        trial_id = study.trials[number]._trial_id
        database.optuna.set_trial_state_values(trial_id, optuna.trial.TrialState.RUNNING)
        database.optuna.set_trial_state_values(trial_id, optuna.trial.TrialState.COMPLETE, [value])
    opened = open_study(database, spec, key, 2 + LAG)
    monkeypatch.setattr(opened.sampler, "_sampler", Recorder(seed=1))
    propose(opened, slot_trial(opened, 2 + LAG), spec.search_space(key.regime, key.model))
    assert Recorder.seen == (1,)
