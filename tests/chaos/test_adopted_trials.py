"""Trials that change owners end exactly as trials that do not."""

import random
import time

import optuna
import pytest
from processes import start_worker

pytestmark = pytest.mark.chaos

REGIMES = ("scratch", "fine_tune/from-up")
N_KILLS = 4


def outcomes(workspace):
    """Return parameters, reports and value of every trial, by study and number."""
    found = {}
    for regime in REGIMES:
        study = optuna.load_study(
            study_name=f"tiny/down/resnet1d18-w2/n60/r0/{regime}",
            storage=f"sqlite:///{workspace}/ecgopt.sqlite3",
        )
        for trial in study.get_trials(deepcopy=False):
            assert trial.state.name == "COMPLETE"
            key = (regime, trial.number)
            found[key] = (trial.params, trial.intermediate_values, trial.value)
    return found


def test_kills_at_random_epochs_change_no_report_and_no_value(study_file, tmp_path):
    study = study_file(
        sampler="random", pruning="false", trials=4, epochs_high=30, published_epochs=30, lease=2
    )
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    assert start_worker(study, calm).wait(timeout=300) == 0
    moments = random.Random(1)
    for _ in range(N_KILLS):
        worker = start_worker(study, rough)
        time.sleep(moments.uniform(4.0, 7.0))
        worker.kill()
        worker.wait()
    assert start_worker(study, rough).wait(timeout=300) == 0
    assert outcomes(rough) == outcomes(calm)
