import json
import subprocess
import sys

import published_networks as published
import pytest
import torch
from safetensors.torch import save_file

from ecgopt.cli.app import build_app
from ecgopt.errors import CheckpointError
from ecgopt.models.cards import card_names, card_path


def ecgopt(*arguments):
    build_app()([str(argument) for argument in arguments])


def test_list_names_every_card(capsys):
    ecgopt("models", "list")
    shown = capsys.readouterr().out
    assert all(name in shown for name in card_names())


def test_list_as_json_has_licence_and_input(capsys):
    ecgopt("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["merl_resnet18"]["licence"] == "MIT"
    assert rows["ptbxl_xresnet1d101"]["seconds"] == 2.5


@pytest.mark.parametrize("name", card_names())
def test_card_prints_a_file_that_can_be_used_again(name, capsys):
    ecgopt("models", "card", name)
    assert capsys.readouterr().out.strip() == card_path(name).read_text().strip()


def test_card_as_json_has_the_parsed_values(capsys):
    ecgopt("models", "card", "merl_resnet18", "--json")
    assert json.loads(capsys.readouterr().out)["input"]["rate_hz"] == 500


@pytest.mark.parametrize("command", [["list"], ["card", "merl_resnet18"]])
def test_reading_commands_do_not_import_torch(command):
    program = (
        "import sys\nfrom ecgopt.cli.app import build_app\n"
        f"build_app()(['models', *{command!r}])\n"
        "assert not {'torch', 'scipy', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.fixture
def merl(tmp_path):
    weights = published.merl_weights()
    torch.save(weights, tmp_path / "w.pt")
    signals = torch.rand(1, 12, 5000)
    save_file(
        {"input": signals, "features": published.merl_stages(weights, signals)[-1]},
        tmp_path / "pair.safetensors",
    )
    return tmp_path


def test_check_reproduces_a_golden_pair(merl, capsys):
    pair = merl / "pair.safetensors"
    ecgopt("models", "check", "merl_resnet18", merl / "w.pt", "--golden", pair)
    shown = capsys.readouterr().out
    assert "122 tensors loaded, 0 left out" in shown
    assert "golden pair reproduced" in shown


def test_check_without_a_pair_says_what_fits_and_ends_with_an_error(merl, capsys):
    with pytest.raises(CheckpointError, match="no golden pair shows"):
        ecgopt("models", "check", "merl_resnet18", merl / "w.pt")
    assert "came from the file" in capsys.readouterr().out
