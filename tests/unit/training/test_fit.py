from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from wave_records import wave_data

from ecgopt.errors import CheckpointError, TrialDiverged, UserError
from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.batches import batch_bounds, signal_source
from ecgopt.training.evaluation import embeddings
from ecgopt.training.fit import TrainingRun, epoch_ranges, predict
from ecgopt.training.optimizer import build_optimizer
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Recipe

CPU = torch.device("cpu")
SPEC = ModelSpec(name="resnet1d18", width=4)
RECIPE = Recipe(learning_rate=3e-3, n_epochs=4, batch_size=16, dropout=0.2)


@pytest.fixture(scope="module")
def data():
    return wave_data()


def run_of(data, recipe=RECIPE, *, seed=0, evaluate_after=None):
    model = build_model(SPEC, n_labels=2, seed=seed)
    return TrainingRun(model, data, recipe, seed=seed, device=CPU, evaluate_after=evaluate_after)


def outcome(results):
    return [(r.epoch, r.train_loss, r.validation_macro_auroc, r.validation_loss) for r in results]


def weights_of(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_it_learns_what_the_signals_show(data):
    results = list(run_of(data, replace(RECIPE, n_epochs=25, learning_rate=1e-2)).epochs())
    assert results[-1].validation_macro_auroc > 0.95
    assert results[-1].train_loss < results[0].train_loss / 2


def test_it_yields_once_per_epoch_and_then_ends(data):
    run = run_of(data)
    assert [r.epoch for r in run.epochs()] == [1, 2, 3, 4]
    assert list(run.epochs()) == []


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_run_continued_from_disk_ends_with_the_same_bits(data, tmp_path, stop_after):
    whole = run_of(data)
    expected = outcome(whole.epochs())
    first = run_of(data)
    before = list(islice(first.epochs(), stop_after))
    save_checkpoint(tmp_path / "state", *first.state())
    second = run_of(data)
    checkpoint = load_checkpoint(tmp_path / "state")
    second.restore(checkpoint.tensors, checkpoint.metadata)
    assert outcome(before) + outcome(second.epochs()) == expected
    assert equal(weights_of(second), weights_of(whole))


def test_what_else_runs_in_the_process_does_not_change_a_run(data):
    expected = outcome(run_of(data).epochs())
    results = []
    for result in run_of(data).epochs():
        torch.rand(100)
        results.append(result)
    assert outcome(results) == expected


def test_a_run_leaves_the_global_generator_alone(data):
    run = run_of(data)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    list(run.epochs())
    assert torch.equal(torch.rand(1), expected)


def test_another_seed_gives_another_run(data):
    model = build_model(SPEC, n_labels=2, seed=0)
    other = TrainingRun(model, data, RECIPE, seed=1, device=CPU)
    assert outcome(other.epochs()) != outcome(run_of(data).epochs())


@pytest.mark.parametrize(
    "other",
    [replace(RECIPE, learning_rate=1e-3), replace(RECIPE, n_epochs=5)],
)
def test_the_state_of_another_recipe_is_refused(data, other):
    tensors, metadata = run_of(data).state()
    with pytest.raises(CheckpointError, match="recipe"):
        run_of(data, other).restore(tensors, metadata)


def test_the_state_of_another_seed_is_refused(data):
    tensors, metadata = run_of(data, seed=1).state()
    with pytest.raises(CheckpointError, match="seed"):
        run_of(data).restore(tensors, metadata)


def test_evaluation_happens_where_asked_and_always_at_the_end(data):
    results = list(run_of(data, evaluate_after=[2]).epochs())
    assert [r.validation is not None for r in results] == [False, True, False, True]


def test_skipping_evaluations_does_not_change_training(data):
    often = run_of(data)
    seldom = run_of(data, evaluate_after=[])
    assert list(often.epochs())[-1].validation_loss == list(seldom.epochs())[-1].validation_loss


def test_every_epoch_counts_its_records_and_seconds(data):
    result = next(run_of(data).epochs())
    assert result.n_samples == 33
    assert result.seconds > 0


def test_a_loss_that_leaves_the_finite_numbers_ends_the_run(data):
    run = run_of(data, replace(RECIPE, learning_rate=1e30, clip_norm=None, warmup_share=0.0))
    with pytest.raises(TrialDiverged, match="learning rate 1e"):
        list(run.epochs())


def test_weights_spoilt_by_the_last_step_are_noticed_in_evaluation(data):
    run = run_of(data, replace(RECIPE, n_epochs=1))
    with torch.no_grad():
        run.model.head.linear.bias.fill_(float("nan"))
    with pytest.raises(TrialDiverged):
        list(run.epochs())


def test_validation_without_both_classes_gives_nan_and_names_the_labels(data):
    blind = replace(data.validation, labels=np.zeros_like(data.validation.labels))
    result = next(run_of(replace(data, validation=blind)).epochs())
    assert np.isnan(result.validation_macro_auroc)
    assert result.validation.left_out == (0, 1)


def test_frozen_stages_stay_as_they_were(data):
    run = run_of(data, replace(RECIPE, n_frozen_stages=5))
    before = weights_of(run)
    list(run.epochs())
    after = weights_of(run)
    assert {k for k in before if not torch.equal(before[k], after[k])} == {
        "head.linear.weight",
        "head.linear.bias",
    }


def test_freezing_more_stages_than_the_model_has_is_refused(data):
    with pytest.raises(UserError, match=r"n_frozen_stages must be from 0 to 5 .* but is 6"):
        run_of(data, replace(RECIPE, n_frozen_stages=6))


def test_the_head_trains_first_and_then_all_else_joins_in(data):
    run = run_of(data, replace(RECIPE, head_first_share=0.5))
    changed = []
    for _ in range(RECIPE.n_epochs):
        before = weights_of(run)
        next(run.epochs())
        after = weights_of(run)
        changed.append({k.split(".")[0] for k in before if not torch.equal(before[k], after[k])})
    assert changed == [{"head"}] * 2 + [set(run.model.stage_names)] * 2


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_head_first_run_continues_to_the_same_bits_on_either_side(data, tmp_path, stop_after):
    recipe = replace(RECIPE, head_first_share=0.5)
    whole = run_of(data, recipe)
    expected = outcome(whole.epochs())
    first = run_of(data, recipe)
    before = list(islice(first.epochs(), stop_after))
    save_checkpoint(tmp_path / "state", *first.state())
    second = run_of(data, recipe)
    checkpoint = load_checkpoint(tmp_path / "state")
    second.restore(checkpoint.tensors, checkpoint.metadata)
    assert outcome(before) + outcome(second.epochs()) == expected
    assert equal(weights_of(second), weights_of(whole))


@pytest.mark.parametrize(
    ("n_epochs", "share", "expected"),
    [(10, 0.0, [10]), (10, 0.3, [3, 7]), (10, 0.01, [1, 9]), (2, 0.95, [1, 1]), (1, 0.5, [1])],
)
def test_the_epochs_of_a_run_are_divided_between_head_and_all(n_epochs, share, expected):
    recipe = Recipe(learning_rate=1.0, n_epochs=n_epochs, head_first_share=share)
    assert [epochs.n_epochs for epochs in epoch_ranges(recipe, 5)] == expected


def test_embeddings_are_what_the_head_sees(data, tmp_path):
    model = build_model(SPEC, n_labels=2, seed=0).eval()
    seen = embeddings(model, data.validation, device=CPU)
    with torch.no_grad():
        logits = model.head(torch.from_numpy(seen))
    expected = predict(model, data.validation, device=CPU)
    np.testing.assert_allclose(torch.sigmoid(logits).numpy(), expected, rtol=1e-5)
    cache = PrefixCache(tmp_path)
    for _ in range(2):
        kept = embeddings(model, data.validation, device=CPU, prefix_cache=cache)
        np.testing.assert_allclose(kept, seen, rtol=1e-5, atol=1e-6)


def test_bf16_trains_to_about_the_same_loss(data):
    exact = list(run_of(data).epochs())[-1].train_loss
    rounded = list(run_of(data, replace(RECIPE, precision="bf16")).epochs())[-1].train_loss
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.2)


@pytest.mark.parametrize("n_records", [1, 2, 16, 17, 33])
def test_a_rest_of_one_record_does_not_stop_training(data, n_records):
    train = data.train
    few = replace(
        data, train=replace(train, rows=train.rows[:n_records], labels=train.labels[:n_records])
    )
    assert np.isfinite(next(run_of(few).epochs()).train_loss)


def test_no_batch_holds_a_single_record():
    assert batch_bounds(33, 16) == [(0, 16), (16, 33)]
    assert batch_bounds(34, 16) == [(0, 16), (16, 32), (32, 34)]
    assert batch_bounds(1, 16) == [(0, 1)]
    assert batch_bounds(3, 1) == [(0, 1), (1, 3)]
    assert batch_bounds(0, 16) == []


def test_batches_hold_the_records_asked_for_in_millivolts(data):
    source = signal_source(data.train, CPU)
    order = np.random.default_rng(0).permutation(len(source))
    signals, labels = map(torch.cat, zip(*source.batches(order, 16), strict=True))
    rows = data.train.rows[order]
    np.testing.assert_allclose(signals.numpy(), data.train.signals[rows] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(labels.numpy(), data.train.labels[order])


def test_predictions_are_probabilities_of_the_model_in_evaluation_mode(data):
    model = build_model(SPEC, n_labels=2, seed=0)
    model.train()
    scores = predict(model, data.validation, device=CPU, batch_size=8)
    assert model.training
    model.eval()
    signals = torch.from_numpy(data.validation.signals[data.validation.rows]) / 1000.0
    with torch.no_grad():
        expected = torch.sigmoid(model(signals).double()).numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_weight_decay_spares_biases_and_norms():
    model = build_model(SPEC, n_labels=2, seed=0)
    optimizer = build_optimizer(model, replace(RECIPE, weight_decay=0.3))
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert {decay[id(p)] for p in model.parameters() if p.ndim > 1} == {0.3}
    assert {decay[id(p)] for p in model.parameters() if p.ndim == 1} == {0.0}
    assert len(decay) == len(list(model.parameters()))


def test_rates_fall_from_the_last_stage_to_the_first_and_the_head_has_its_own():
    model = build_model(SPEC, n_labels=2, seed=0)
    recipe = Recipe(learning_rate=1.0, n_epochs=1, layer_decay=0.5, head_rate_ratio=10.0)
    rate = {
        id(p): group["lr"]
        for group in build_optimizer(model, recipe).param_groups
        for p in group["params"]
    }
    rates = [rate[id(next(model.stage(name).parameters()))] for name in model.stage_names]
    assert rates == [0.0625, 0.125, 0.25, 0.5, 1.0, 10.0]


def test_the_fused_optimiser_equals_the_plain_one():
    recipe = replace(RECIPE, weight_decay=0.1)
    signals = torch.randn(4, 12, 1000, generator=torch.Generator().manual_seed(0))
    weights = []
    for fused in (True, False):
        model = build_model(SPEC, n_labels=2, seed=0)
        optimizer = build_optimizer(model, recipe)
        for group in optimizer.param_groups:
            group["fused"] = fused
        for _ in range(3):
            optimizer.zero_grad()
            model(signals).square().mean().backward()
            optimizer.step()
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)
