"""Going on from the newest undamaged checkpoint: real training, real files, real damage."""

from itertools import islice

import pytest
import torch
from wave_records import wave_data

from ecgopt.jobs.resumption import ResumableEpochs
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Recipe

RECIPE = Recipe(learning_rate=3e-3, n_epochs=5, batch_size=16, dropout=0.2)
N_BEFORE = 4
"""Epochs of the first owner, who died after the last of them and before its checkpoint."""


@pytest.fixture(scope="module")
def data():
    return wave_data()


@pytest.fixture
def owner(data, tmp_path):
    """Return a function that begins or continues the run in a folder as one more owner."""

    def begin(folder="shared"):
        model = build_model(ModelSpec(name="resnet1d18", width=4), n_labels=2, seed=0)
        run = TrainingRun(model, data, RECIPE, seed=0, device=torch.device("cpu"))
        return run, ResumableEpochs(run, tmp_path / folder, checkpoint_seconds=0.0)

    return begin


@pytest.fixture
def undisturbed(owner):
    run, epochs = owner("alone")
    return outcome(epochs), run.model.state_dict()


@pytest.fixture
def left(owner, tmp_path):
    """Let a first owner die, and return the checkpoints it left, the newest first."""
    list(islice(owner()[1], N_BEFORE))
    return sorted((tmp_path / "shared").iterdir(), reverse=True)


def outcome(epochs):
    return [(r.epoch, r.train_loss, r.validation_macro_auroc, r.validation_loss) for r in epochs]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def lower_its_count_of_records(path):
    content = path.read_bytes()
    at = content.index(b"n_samples") + len(b'n_samples\\": ')
    assert content[at : at + 1].isdigit()
    path.write_bytes(content[:at] + b"0" + content[at + 1 :])


def cut_it_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def empty_it(path):
    path.write_bytes(b"")


DAMAGES = (flip_a_bit, lower_its_count_of_records, cut_it_short, empty_it)


def test_the_newest_two_checkpoints_are_kept(left):
    assert [path.name for path in left] == ["epoch-00003.safetensors", "epoch-00002.safetensors"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_costs_no_bit(
    damage, left, owner, undisturbed
):
    damage(left[0])
    run, epochs = owner()
    assert epochs.epochs_done == 2
    results, weights = undisturbed
    assert outcome(epochs) == results[2:]
    assert epochs.curve == [auroc for _, _, auroc, _ in results]
    assert epochs.n_samples == RECIPE.n_epochs * 33
    assert all(torch.equal(run.model.state_dict()[name], weights[name]) for name in weights)


def test_training_begins_again_when_both_checkpoints_are_damaged(left, owner, undisturbed):
    for path in left:
        flip_a_bit(path)
    run, epochs = owner()
    assert (epochs.epochs_done, epochs.n_samples, epochs.seconds) == (0, 0, 0.0)
    results, weights = undisturbed
    assert outcome(epochs) == results
    assert all(torch.equal(run.model.state_dict()[name], weights[name]) for name in weights)


def test_nothing_is_left_of_an_item_that_has_ended(left, owner, tmp_path):
    _, epochs = owner()
    list(epochs)
    epochs.discard()
    assert list(tmp_path.iterdir()) == []
