import hashlib
import json

import pytest
import torch

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import (
    Checkpoint,
    load_checkpoint,
    model_tensors,
    save_checkpoint,
    transfer,
)
from ecgopt.models.registry import ModelSpec, build_model

SPEC = ModelSpec(name="resnet1d18", width=4)


@pytest.fixture
def model():
    return build_model(SPEC, n_labels=3, seed=0)


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "folder that is not there yet" / "model.safetensors"
    return path, save_checkpoint(path, model_tensors(model), {"epochs": 3, "scores": [0.5, None]})


def checkpoint_of(model):
    return Checkpoint(tensors=model_tensors(model), metadata={}, sha256="")


def test_tensors_and_metadata_come_back_as_they_were(model, saved):
    path, sha256 = saved
    checkpoint = load_checkpoint(path, sha256=sha256)
    assert checkpoint.metadata == {"epochs": 3, "scores": [0.5, None]}
    for name, tensor in model_tensors(model).items():
        torch.testing.assert_close(checkpoint.tensors[name], tensor, rtol=0, atol=0)


def test_the_returned_hash_is_that_of_the_file(saved):
    path, sha256 = saved
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def test_nothing_but_the_checkpoint_is_left_in_the_folder(saved):
    path, _ = saved
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_checkpoint(model, saved, monkeypatch):
    path, sha256 = saved

    def full_disk(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, model_tensors(model), {"epochs": 4})
    assert load_checkpoint(path, sha256=sha256).metadata["epochs"] == 3
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_checkpoint_cut_short_is_refused(saved, cut):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match="whole"):
        load_checkpoint(path)


def test_a_flipped_bit_is_noticed_without_knowing_the_hash(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="other values"):
        load_checkpoint(path)


def test_a_changed_digit_of_the_metadata_is_noticed_too(saved):
    path, _ = saved
    content = path.read_bytes()
    assert content.count(b'epochs\\": 3') == 1
    path.write_bytes(content.replace(b'epochs\\": 3', b'epochs\\": 2'))
    with pytest.raises(CheckpointError, match="other values"):
        load_checkpoint(path)


def test_another_file_than_the_one_asked_for_is_refused(saved):
    path, _ = saved
    with pytest.raises(CheckpointError, match="SHA-256 abc"):
        load_checkpoint(path, sha256="abc")


def test_a_missing_checkpoint_is_a_clear_error(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_text(json.dumps({"weights": [1, 2]}))
    with pytest.raises(CheckpointError, match="not a whole ecgopt checkpoint"):
        load_checkpoint(path)


def test_transfer_fills_everything_but_the_head(model):
    target = build_model(SPEC, n_labels=7, seed=1)
    head_before = target.head.linear.weight.clone()
    transfer(target, checkpoint_of(model))
    source = model.state_dict()
    for name, tensor in target.state_dict().items():
        if not name.startswith("head."):
            torch.testing.assert_close(tensor, source[name], rtol=0, atol=0)
    assert torch.equal(target.head.linear.weight, head_before)


def test_the_share_transferred_to_a_published_resnet_is_all_but_its_last_layer():
    source = build_model(ModelSpec(), n_labels=71, seed=0)
    target = build_model(ModelSpec(), n_labels=5, seed=1)
    assert transfer(target, checkpoint_of(source)) == pytest.approx(1 - 2565 / 4_114_053)


def test_transfer_between_widths_names_both_shapes_and_changes_nothing(model):
    target = build_model(ModelSpec(width=8), n_labels=3, seed=1)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"stem.first.conv.weight is \(4, 12, 1, 7\) instead of"
    ):
        transfer(target, checkpoint_of(model))
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_transfer_names_a_missing_tensor(model):
    with pytest.raises(CheckpointError, match=r"stem.first.conv.weight is missing"):
        transfer(model, Checkpoint(tensors={}, metadata={}, sha256=""))
