"""A public checkpoint by its card, from the study file to the report, in real processes."""

import json

import published_networks as published
import pytest
import torch
from processes import ecgopt
from safetensors.torch import save_file
from tiny_study import begin, tiny_study

from ecgopt.errors import CheckpointError
from ecgopt.models.cards import card_path

INPUT = """
[diagnostics]
shuffled_labels = false
rerun = false

[inputs.merl]
rate_hz = 250
seconds = 2.0
leads = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
scaling = "zero_one_record"

[upstream.merl]
checkpoint = "{folder}/merl.pt"
card = "{folder}/card.toml"
golden = "{folder}/pair.safetensors"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a narrow public model, its card, and a study that begins from it."""
    folder = tmp_path_factory.mktemp("public")
    weights = published.merl_weights(8)
    torch.save(weights, folder / "merl.pt")
    signals = torch.rand(2, 12, 500)
    pair = {"input": signals, "features": published.merl_stages(weights, signals)[-1]}
    save_file(pair, folder / "pair.safetensors")
    card = card_path("merl_resnet18").read_text()
    card = card.replace('name = "merl_resnet18"', 'name = "merl_resnet18"\nwidth = 8')
    card = card.replace("rate_hz = 500\nseconds = 10.0", "rate_hz = 250\nseconds = 2.0")
    (folder / "card.toml").write_text(card)
    text = tiny_study(trials=2, published_epochs=2, epochs_high=3)
    text = text.replace('upstreams = ["up"]', 'upstreams = ["merl"]')
    model = 'name = "merl_resnet18"\nwidth = 8\ninput = "merl"'
    text = text.replace('name = "resnet1d18"\nwidth = 2', model)
    text = text[: text.index("[data.up]")] + text[text.index("[data.down]") :]
    (folder / "study.toml").write_text(text + INPUT.format(folder=folder))
    return folder


def test_a_public_model_is_fine_tuned_and_reported(folder):
    arguments = ["--workers", 2, "--workspace", folder / "ws", "--out", folder / "out"]
    done = ecgopt("run", folder / "study.toml", *arguments)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads((folder / "out" / "results.json").read_text())["cells"]
    assert cell["cell"]["upstream"] == "merl"
    assert cell["cell"]["model"] == "merl_resnet18-w8-merl"
    assert set(cell["regimes"]) == {"scratch", "fine_tune"}


def refused(folder, change, name):
    """Return why the study, changed, does not begin."""
    (folder / f"{name}.toml").write_text(change((folder / "study.toml").read_text()))
    with pytest.raises(CheckpointError) as refusal:
        begin(folder / f"{name}.toml", folder / name)
    return str(refusal.value)


def test_no_study_begins_from_a_model_whose_golden_pair_is_not_reproduced(folder):
    pair = {"input": torch.rand(2, 12, 500), "features": torch.rand(2, 64)}
    save_file(pair, folder / "other.safetensors")
    message = refused(folder, lambda t: t.replace("pair.safetensors", "other.safetensors"), "wrong")
    assert "loaded into a different network" in message


def test_no_study_begins_from_a_model_on_another_input_than_its_card_states(folder):
    message = refused(folder, lambda t: t.replace("zero_one_record", "z_score_lead"), "scaled")
    assert "scaling must be 'zero_one_record', but is 'z_score_lead'" in message
