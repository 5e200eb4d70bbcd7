"""One comparison of every kind of upstream through real processes, to its report."""

import json

import pytest
import torch
from processes import ecgopt
from tiny_study import tiny_study

from ecgopt.comparison.evidence import load_evidence
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace

UPSTREAMS = """
[upstream.permuted]
data = "up"
objective = "label_permuted"

[upstream.ages]
data = "up"
objective = "age"

[upstream.masked]
data = "up"
objective = "masked_signal"

[upstream.mine]
checkpoint = "{weights}"

[pretrain.tuning]
trials = 3
space.learning_rate = {{ low = 1e-4, high = 1e-2, log = true }}
space.epochs = {{ low = 1, high = 3 }}
"""
TRAINED = {
    "up": "multi_label",
    "permuted": "label_permuted",
    "ages": "age",
    "masked": "masked_signal",
}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstreams")
    weights = folder / "weights.pt"
    torch.save(build_model(ModelSpec(width=2), n_labels=3, seed=4).state_dict(), weights)
    text = tiny_study(trials=2).replace(
        'upstreams = ["up"]', f"upstreams = {json.dumps([*TRAINED, 'mine'])}"
    )
    study = folder / "study.toml"
    study.write_text(text + UPSTREAMS.format(weights=weights))
    done = ecgopt("run", study, "--workers", 2, "--workspace", folder / "ws", "--out", folder / "o")
    assert done.returncode == 0, done.stderr
    workspace = Workspace(folder / "ws")
    found = load_evidence(load_spec(study), workspace, f"sqlite:///{workspace.sqlite_file}")
    return found, json.loads((folder / "o" / "results.json").read_text())


def test_every_upstream_ends_in_the_report(evidence):
    found, results = evidence
    assert not found.set_aside
    assert [cell["cell"]["upstream"] for cell in results["cells"]] == [*TRAINED, "mine"]
    assert all("fine_tune" in cell["regimes"] for cell in results["cells"])


def test_each_pretraining_states_its_objective_and_the_cost_of_all_its_trials(evidence):
    found = {p.upstream: p for p in evidence[0].pretrainings}
    assert {name: found[name].objective for name in TRAINED} == TRAINED
    for name in TRAINED:
        assert found[name].n_trials == 3
        assert found[name].n_epochs >= 2 + 1 + 1
        assert found[name].n_samples > 0
        assert found[name].seconds > 0
        assert found[name].validation_score is not None
    assert found["up"].validation_macro_auroc == found["up"].validation_score
    assert found["ages"].validation_macro_auroc is None


def test_own_weights_cost_nothing_and_say_what_they_are(evidence):
    (mine,) = (p for p in evidence[0].pretrainings if p.upstream == "mine")
    assert (mine.objective, mine.n_epochs, mine.seconds) == ("own checkpoint", 0, 0.0)
    assert mine.sha256
