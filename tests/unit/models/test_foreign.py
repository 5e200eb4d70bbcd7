import pickle

import pytest
import torch
from safetensors.torch import save_file

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import transfer
from ecgopt.models.foreign import TABLES, load_foreign
from ecgopt.models.registry import ModelSpec, build_model

SPEC = ModelSpec(width=4)
TORCHVISION = TABLES["torchvision"]


@pytest.fixture
def model():
    return build_model(SPEC, n_labels=3, seed=0)


def flat(model):
    """Return a ResNet's weights as a one-dimensional torchvision ResNet names and shapes them."""
    names = {"first": 1, "second": 2, "third": 3}
    renamed = {}
    for name, tensor in model.state_dict().items():
        parts = name.replace(".body.", ".").split(".")
        match parts:
            case ["stem", _, kind, leaf]:
                theirs = f"{'conv1' if kind == 'conv' else 'bn1'}.{leaf}"
            case ["stage4", "hidden", "0", leaf]:
                theirs = f"fc1.{leaf}"
            case ["head", "linear", leaf]:
                theirs = f"fc2.{leaf}"
            case [stage, block, "shortcut", kind, leaf]:
                theirs = f"layer{stage[5:]}.{block}.downsample.{int(kind == 'norm')}.{leaf}"
            case [stage, block, which, kind, leaf]:
                short = "conv" if kind == "conv" else "bn"
                theirs = f"layer{stage[5:]}.{block}.{short}{names[which]}.{leaf}"
        renamed[theirs] = (tensor.squeeze(2) if tensor.ndim == 4 else tensor).contiguous().clone()
    return renamed


def assert_transfers(checkpoint, model):
    target = build_model(SPEC, n_labels=5, seed=9)
    transfer(target, checkpoint)
    source = model.state_dict()
    for name, tensor in target.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(tensor, source[name])


def test_a_state_dict_of_torch_save_is_loaded(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    assert_transfers(load_foreign(tmp_path / "weights.pt", model, {}), model)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_beside_other_things_is_found(model, tmp_path, key):
    torch.save({key: model.state_dict(), "epoch": 3}, tmp_path / "weights.pt")
    assert_transfers(load_foreign(tmp_path / "weights.pt", model, {}), model)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model."])
def test_wrapped_names_are_unwrapped(model, tmp_path, wrapper):
    wrapped = {wrapper + name: tensor for name, tensor in model.state_dict().items()}
    torch.save(wrapped, tmp_path / "weights.pt")
    assert_transfers(load_foreign(tmp_path / "weights.pt", model, {}), model)


def test_one_dimensional_torchvision_weights_are_loaded_by_their_table(model, tmp_path):
    save_file(flat(model), tmp_path / "weights.safetensors")
    checkpoint = load_foreign(tmp_path / "weights.safetensors", model, TORCHVISION)
    assert_transfers(checkpoint, model)


def test_weights_without_batch_counters_or_head_are_enough(model, tmp_path):
    weights = {
        name: tensor
        for name, tensor in flat(model).items()
        if not name.endswith("batches_tracked") and not name.startswith("fc2")
    }
    save_file(weights, tmp_path / "weights.safetensors")
    checkpoint = load_foreign(tmp_path / "weights.safetensors", model, TORCHVISION)
    assert_transfers(checkpoint, model)


def test_the_longest_rule_wins_and_stars_are_carried_over(model, tmp_path):
    weights = {
        name.replace("stage1.0", "blocks.x.0"): tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save(weights, tmp_path / "weights.pt")
    names = {"blocks.*": "nowhere", "blocks.x.*": "stage1.*"}
    assert_transfers(load_foreign(tmp_path / "weights.pt", model, names), model)


def test_names_that_do_not_fit_are_answered_with_both_sides(model, tmp_path):
    save_file(flat(model), tmp_path / "weights.safetensors")
    with pytest.raises(
        CheckpointError, match=r"tensors are missing.*no place in the model.*'torchvision'"
    ):
        load_foreign(tmp_path / "weights.safetensors", model, {})


def test_a_table_that_sends_two_tensors_to_one_name_is_refused(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    names = {"stage1.0": "stage1.1"}
    with pytest.raises(CheckpointError, match="two tensors to the same name"):
        load_foreign(tmp_path / "weights.pt", model, names)


def test_another_width_is_refused_by_the_transfer(model, tmp_path):
    wide = build_model(ModelSpec(width=8), n_labels=3, seed=0)
    torch.save(wide.state_dict(), tmp_path / "weights.pt")
    checkpoint = load_foreign(tmp_path / "weights.pt", model, {})
    with pytest.raises(CheckpointError, match=r"\(8, 12, 1, 7\) instead of \(4, 12, 1, 7\)"):
        transfer(model, checkpoint)


class Surprise:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_a_pickle_that_could_run_code_is_refused_unrun(model, tmp_path, capsys):
    with (tmp_path / "weights.pt").open("wb") as file:
        pickle.dump(Surprise(), file, protocol=2)
    with pytest.raises(CheckpointError, match="state_dict"):
        load_foreign(tmp_path / "weights.pt", model, {})
    assert capsys.readouterr().out == ""


def test_a_whole_pickled_model_is_refused_with_the_remedy(model, tmp_path):
    torch.save(model, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"save `model.state_dict\(\)`"):
        load_foreign(tmp_path / "weights.pt", model, {})


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_damaged_file_is_a_clear_error(model, tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(CheckpointError, match="damaged or of another kind"):
        load_foreign(tmp_path / name, model, {})


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_missing_file_is_a_clear_error(model, tmp_path, name):
    with pytest.raises(CheckpointError, match="No such file"):
        load_foreign(tmp_path / name, model, {})
