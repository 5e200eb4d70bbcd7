"""One comparison that searches every hyperparameter of training, to its report."""

import json

import pytest
from tiny_study import tiny_study
from work_bench import Bench

from ecgopt.analysis.conclude import conclude
from ecgopt.analysis.importance import FEWEST_TRIALS
from ecgopt.regimes.hyperparameters import PARAMETERS, published_parameters
from ecgopt.report.write import write_report

OWN = """
weight_decay = { low = 0.0, high = 0.1 }
dropout = { low = 0.0, high = 0.5 }
batch_size = { low = 16, high = 256, log = true }
optimizer = { choices = ["adamw", "adam", "sgd"] }
label_smoothing = { low = 0.0, high = 0.2 }
lead_dropout = { low = 0.0, high = 0.3 }
noise_millivolts = { low = 0.0, high = 0.1 }
time_shift_seconds = { low = 0.0, high = 1.0 }
"""
SEARCHED = {name for name, declared in PARAMETERS.items() if declared.scope == "training"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything")
    study = folder / "study.toml"
    text = tiny_study(
        own=OWN,
        regimes='["scratch", "scratch_twin"]',
        trials=FEWEST_TRIALS + 2,
        epochs_low=1,
        epochs_high=2,
        published_epochs=2,
        pruning="false",
    )
    study.write_text(text.replace('upstreams = ["up"]', ""))
    bench = Bench(study, folder / "ws")
    while (claim := bench.claim("test:1")) is not None:
        bench.close(claim, bench.run(claim))
    return bench


@pytest.fixture(scope="module")
def evidence(bench):
    return bench.evidence()


def test_every_trial_has_a_value_of_every_hyperparameter(bench, evidence):
    for study in evidence.studies:
        trials = [trial for trial in study.trials if trial.recipe in ("published", "tuned")]
        assert len(trials) == FEWEST_TRIALS + 2
        for trial in trials:
            space = bench.spec.search_space(study.regime)
            assert set(trial.parameters) == SEARCHED
            assert all(
                space.ranges[name].contains(value) for name, value in trial.parameters.items()
            )
            assert type(trial.parameters["optimizer"]) is str
            assert type(trial.parameters["batch_size"]) is int


def test_trial_zero_is_the_published_recipe(evidence):
    for study in evidence.studies:
        assert study.trials[0].parameters == published_parameters(SEARCHED, n_epochs=2)


def test_the_report_shows_choices_next_to_numbers(bench, evidence, tmp_path):
    conclusions = conclude(evidence, bench.place.root)
    paths = write_report(conclusions, tmp_path)
    (cell,) = json.loads(paths.results.read_text())["cells"]
    optimizers = {
        replicate["winner"]["parameters"]["optimizer"]
        for arm in cell["regimes"].values()
        for replicate in arm["replicates"]
    }
    assert optimizers <= {"adamw", "adam", "sgd"}
    assert all(name in paths.html.read_text() for name in optimizers)
    importances = [arm.importance for arm in conclusions.cells[0].arms.values()]
    assert any("optimizer" in found for found in importances)
