from dataclasses import replace

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.errors import CheckpointError, UserError
from ecgopt.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, transfer
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.pretrain import Pretraining, build_pretraining, permuted, with_ages
from ecgopt.training.recipe import Recipe

CPU = torch.device("cpu")
SPEC = ModelSpec(name="resnet1d18", width=4)
RECIPE = Recipe(learning_rate=3e-3, n_epochs=4, batch_size=16, dropout=0.2)


@pytest.fixture(scope="module")
def data():
    return wave_data()


def run_of(data):
    return TrainingRun(build_model(SPEC, n_labels=2, seed=0), data, RECIPE, seed=0, device=CPU)


def aged_data(data):
    """Give each record an age that its slow wave shows; some are missing, some coded as 300."""

    def aged(part):
        ages = np.where(part.labels[:, 0] > 0, 80.0, 40.0)
        ages[::7] = np.nan
        ages[(ages > 60).nonzero()[0][:3]] = 300
        return with_ages(part, ages)

    return replace(data, train=aged(data.train), validation=aged(data.validation))


def finish(pretraining):
    for _ in pretraining.epochs():
        pass
    return pretraining.finish()


def as_checkpoint(pretrained):
    return Checkpoint(tensors=pretrained.tensors, metadata=pretrained.metadata, sha256="")


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_pre_training_keeps_the_epoch_best_on_validation(data):
    pretrained = finish(Pretraining(run_of(data)))
    scores = [entry["validation_score"] for entry in pretrained.metadata["history"]]
    best = pretrained.metadata["best_epoch"]
    assert scores[best - 1] == max(scores) == pretrained.metadata["best_score"]
    assert pretrained.metadata["epochs"] == 4
    assert pretrained.metadata["seconds"] > 0
    again = run_of(data)
    for result in again.epochs():
        if result.epoch == best:
            break
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(pretrained.tensors[f"model.{name}"], tensor)


def test_a_pre_training_continued_from_disk_keeps_the_same_model(data, tmp_path):
    expected = finish(Pretraining(run_of(data)))
    first = Pretraining(run_of(data))
    for result in first.epochs():
        if result.epoch == 3:
            break
    save_checkpoint(tmp_path / "state", *first.state())
    checkpoint = load_checkpoint(tmp_path / "state")
    second = Pretraining(run_of(data))
    second.restore(checkpoint.tensors, checkpoint.metadata)
    assert [r.epoch for r in second.epochs()] == [4]
    finished = second.finish()
    assert equal(finished.tensors, expected.tensors)
    assert finished.metadata["best_epoch"] == expected.metadata["best_epoch"]
    assert len(finished.metadata["history"]) == 4


def test_pre_training_that_cannot_be_scored_is_a_clear_error(data):
    blind = replace(data.validation, labels=np.zeros_like(data.validation.labels))
    with pytest.raises(UserError, match="both positives and negatives"):
        finish(Pretraining(run_of(replace(data, validation=blind))))


@pytest.mark.parametrize("objective", ["multi_label", "masked_signal", "label_permuted"])
@pytest.mark.parametrize("name", ["resnet1d18", "gru", "transformer1d", "inception1d"])
def test_every_objective_pre_trains_every_family(data, objective, name):
    spec = ModelSpec(name=name, width=4)
    pretrained = finish(
        build_pretraining(objective, spec, data, replace(RECIPE, n_epochs=1), seed=0, device=CPU)
    )
    target = build_model(spec, n_labels=3, seed=1)
    assert transfer(target, as_checkpoint(pretrained)) > 0
    assert pretrained.metadata["objective"] == objective


def test_age_is_learned_from_the_signals_despite_missing_and_coded_ages(data):
    recipe = replace(RECIPE, n_epochs=25, learning_rate=1e-2, dropout=0.0)
    run = build_pretraining("age", SPEC, aged_data(data), recipe, seed=0, device=CPU)
    assert finish(run).metadata["best_score"] > 0.5


def test_age_pre_training_without_an_age_column_is_a_clear_error(data):
    with pytest.raises(UserError, match="only column of labels, but there are 2"):
        build_pretraining("age", SPEC, data, RECIPE, seed=0, device=CPU)


def test_an_unknown_objective_is_a_clear_error(data):
    with pytest.raises(UserError, match=r"masked_signal.*'autoencoder'"):
        build_pretraining("autoencoder", SPEC, data, RECIPE, seed=0, device=CPU)


def test_hidden_segments_are_filled_in_better_than_with_nothing():
    recipe = replace(RECIPE, n_epochs=12, learning_rate=1e-2, dropout=0.0)
    spec = ModelSpec(name="transformer1d", width=32)
    run = build_pretraining(
        "masked_signal", spec, wave_data(n_train=200), recipe, seed=0, device=CPU
    )
    assert finish(run).metadata["best_score"] > 0.1


def test_what_reconstruction_does_not_train_stays_fresh_on_transfer(data):
    recipe = replace(RECIPE, n_epochs=1)
    run = build_pretraining("masked_signal", SPEC, data, recipe, seed=0, device=CPU)
    pretrained = finish(run)
    assert not any(name.startswith("model.stage4.hidden") for name in pretrained.tensors)
    target = build_model(SPEC, n_labels=3, seed=1)
    hidden = target.last_stage.hidden[0].weight.clone()
    share = transfer(target, as_checkpoint(pretrained))
    assert torch.equal(target.last_stage.hidden[0].weight, hidden)
    n_fresh = sum(
        p.numel() for m in (target.last_stage.hidden, target.head) for p in m.parameters()
    )
    assert share == pytest.approx(1 - n_fresh / sum(p.numel() for p in target.parameters()))


def test_a_reconstruction_continues_from_disk_to_the_same_bits(data, tmp_path):
    def start():
        return build_pretraining("masked_signal", SPEC, data, RECIPE, seed=0, device=CPU)

    expected = finish(start())
    first = start()
    next(first.epochs())
    save_checkpoint(tmp_path / "state", *first.state())
    checkpoint = load_checkpoint(tmp_path / "state")
    second = start()
    second.restore(checkpoint.tensors, checkpoint.metadata)
    assert equal(finish(second).tensors, expected.tensors)


def test_the_state_of_another_kind_of_run_is_refused(data):
    tensors, metadata = run_of(data).state()
    with pytest.raises(CheckpointError, match="not that of a pre-training"):
        Pretraining(run_of(data)).restore(tensors, metadata)


def test_permuted_labels_keep_their_counts_and_company_but_not_their_records(data):
    dealt = permuted(data, seed=0)
    for before, after in ((data.train, dealt.train), (data.validation, dealt.validation)):
        assert sorted(map(tuple, before.labels)) == sorted(map(tuple, after.labels))
        assert not np.array_equal(before.labels, after.labels)
        assert np.array_equal(before.rows, after.rows)


def test_equal_seeds_permute_alike(data):
    first, second, other = (permuted(data, seed=s).train.labels for s in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
