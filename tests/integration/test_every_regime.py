"""One comparison of every regime through real processes, to its report."""

import json

import pytest
from processes import ecgopt
from tiny_study import tiny_study

from ecgopt.data.sources.synthetic import SyntheticSettings, write_synthetic
from ecgopt.regimes.regimes import REGIMES

OWN = """
weight_decay = { low = 0.0, high = 0.1 }
dropout = { low = 0.0, high = 0.5 }

[space.fine_tune]
frozen_stages = { low = 0, high = 5 }
head_rate_ratio = { low = 0.5, high = 20.0, log = true }

[space.layer_decay]
layer_decay = { low = 0.3, high = 1.0 }

[space.lp_ft]
head_first_share = { low = 0.1, high = 0.9 }

[space.svm_probe]
svm_c = { low = 1e-4, high = 1e2, log = true }
"""

N_RECORDS = 160

EXPECTED = {
    "scratch": {"dropout", "epochs", "learning_rate", "weight_decay"},
    "fine_tune": {
        "dropout", "epochs", "frozen_stages", "head_rate_ratio", "learning_rate", "weight_decay",
    },
    "layer_decay": {"dropout", "epochs", "layer_decay", "learning_rate", "weight_decay"},
    "lp_ft": {"dropout", "epochs", "head_first_share", "learning_rate", "weight_decay"},
    "svm_probe": {"svm_c"},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("every")
    study = folder / "study.toml"
    text = tiny_study(regimes=json.dumps([*REGIMES]), own=OWN, trials=3)
    study.write_text(text.replace("train_sizes = [60]", 'train_sizes = ["all"]'))
    done = ecgopt("run", study, "--workers", 2, "--workspace", folder / "ws", "--out", folder / "o")
    assert done.returncode == 0, done.stderr
    listed = ecgopt("trials", study, "--workspace", folder / "ws", "--json")
    assert listed.returncode == 0, listed.stderr
    return json.loads((folder / "o" / "results.json").read_text()), json.loads(listed.stdout)


def test_every_regime_ends_in_the_report_with_a_final_score(finished):
    results, _ = finished
    (cell,) = results["cells"]
    assert set(cell["regimes"]) == set(REGIMES)
    assert all(0 < regime["test_score"] < 1 for regime in cell["regimes"].values())


def test_a_cell_of_all_records_is_reported_with_the_number_that_have_a_diagnosis(
    finished, tmp_path
):
    results, _ = finished
    settings = SyntheticSettings(n_records=N_RECORDS, seed=2, population="B")
    write_synthetic(tmp_path / "again", settings)
    headers = [path.read_text() for path in (tmp_path / "again").rglob("*.hea")]
    assert len(headers) == N_RECORDS
    n_stated = sum("#Dx: \n" not in header for header in headers)
    (cell,) = results["cells"]
    n_test = cell["regimes"]["scratch"]["scores"]["n_records"]
    assert cell["cell"]["n_train"] == n_stated - n_test


def test_every_trial_of_every_regime_is_complete_or_pruned(finished):
    _, trials = finished
    assert len(trials) == 3 * len(REGIMES)
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}


@pytest.mark.parametrize(("regime", "names"), EXPECTED.items())
def test_each_regime_searches_the_shared_parameters_it_uses_and_its_own(finished, regime, names):
    _, trials = finished
    found = [trial for trial in trials if trial["regime"] == regime]
    parameters = set().union(*EXPECTED.values())
    for trial in found:
        assert {name for name in parameters if trial[name] is not None} == names
