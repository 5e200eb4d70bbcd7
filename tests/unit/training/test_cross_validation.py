"""One run per fold, as one run: what it scores, what it costs and how it goes on."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from wave_records import dataset, wave_data

from ecgopt.data.folds import held_out
from ecgopt.data.splits import TuningData
from ecgopt.errors import CheckpointError, TrialDiverged
from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.cross_validation import CrossValidationRun
from ecgopt.training.fit import TrainingRun
from ecgopt.training.metrics import auroc_within, comparable_pairs, macro_auroc
from ecgopt.training.recipe import Recipe
from ecgopt.training.svm import SvmRun

CPU = torch.device("cpu")
SPEC = ModelSpec(name="resnet1d18", width=2)
RECIPE = Recipe(learning_rate=3e-3, n_epochs=3, batch_size=16, dropout=0.2)
N_RECORDS, N_FOLDS = 60, 3


@pytest.fixture(scope="module")
def folds():
    whole = wave_data(n_train=N_RECORDS, n_validation=1).train
    positions = np.arange(N_RECORDS)

    def part(is_inside):
        return dataset(whole.signals, whole.rows[is_inside], whole.labels[is_inside], whole.classes)

    return tuple(
        TuningData(part(positions % N_FOLDS != fold), part(positions % N_FOLDS == fold))
        for fold in range(N_FOLDS)
    )


def member(data, seed, recipe=RECIPE, *, kind=TrainingRun, evaluate_after=None):
    model = build_model(SPEC, n_labels=2, seed=seed)
    return kind(model, data, recipe, seed=seed, device=CPU, evaluate_after=evaluate_after)


def run_of(folds, recipe=RECIPE, *, kind=TrainingRun, is_final=False, evaluate_after=None):
    members = [
        member(fold, seed, recipe, kind=kind, evaluate_after=evaluate_after)
        for seed, fold in enumerate(folds)
    ]
    everything = TuningData(held_out(folds), held_out(folds))
    refit = member(everything, 9, recipe, kind=kind, evaluate_after=()) if is_final else None
    return CrossValidationRun(members, folds, refit=refit)


def outcome(results):
    return [
        (r.epoch, r.train_loss, r.validation_macro_auroc, r.validation_loss, r.n_samples)
        for r in results
    ]


def test_it_yields_once_per_epoch_and_then_ends(folds):
    run = run_of(folds)
    assert [result.epoch for result in run.epochs()] == [1, 2, 3]
    assert list(run.epochs()) == []


@pytest.mark.parametrize("stop_after", [1, 2])
@pytest.mark.parametrize("is_final", [False, True])
def test_a_run_continued_from_disk_ends_with_the_same_bits(folds, tmp_path, stop_after, is_final):
    whole = run_of(folds, is_final=is_final)
    expected = outcome(whole.epochs())
    first = run_of(folds, is_final=is_final)
    before = list(islice(first.epochs(), stop_after))
    save_checkpoint(tmp_path / "state", *first.state())
    second = run_of(folds, is_final=is_final)
    checkpoint = load_checkpoint(tmp_path / "state")
    second.restore(checkpoint.tensors, checkpoint.metadata)
    assert outcome(before) + outcome(second.epochs()) == expected
    np.testing.assert_array_equal(second.predict_validation(), whole.predict_validation())
    if is_final:
        records = folds[0].validation
        np.testing.assert_array_equal(second.predict(records), whole.predict(records))


def test_each_network_is_the_one_that_training_it_alone_gives(folds):
    run = run_of(folds)
    list(run.epochs())
    alone = []
    for seed, fold in enumerate(folds):
        single = member(fold, seed)
        list(single.epochs())
        alone.append(single.predict_validation())
    np.testing.assert_array_equal(run.predict_validation(), np.concatenate(alone))


def test_the_network_of_all_records_changes_no_score_and_answers_the_test(folds):
    plain, final = run_of(folds), run_of(folds, is_final=True)
    scores = [[result.validation_macro_auroc for result in run.epochs()] for run in (plain, final)]
    assert scores[0] == scores[1]
    single = member(TuningData(held_out(folds), held_out(folds)), 9)
    list(single.epochs())
    records = folds[1].validation
    np.testing.assert_array_equal(final.predict(records), single.predict(records))


def test_records_and_seconds_of_all_networks_are_summed(folds):
    result = next(run_of(folds).epochs())
    assert result.n_samples == N_RECORDS * (N_FOLDS - 1)
    assert next(run_of(folds, is_final=True).epochs()).n_samples == N_RECORDS * N_FOLDS
    alone = [next(member(fold, seed).epochs()) for seed, fold in enumerate(folds)]
    assert result.train_loss == pytest.approx(np.mean([one.train_loss for one in alone]))


def test_evaluation_happens_where_asked_and_always_at_the_end(folds):
    results = list(run_of(folds, evaluate_after=[2]).epochs())
    assert [r.validation is not None for r in results] == [False, True, True]


def test_one_network_that_leaves_the_finite_numbers_ends_the_run(folds):
    run = run_of(folds, replace(RECIPE, learning_rate=1e30, clip_norm=None, warmup_share=0.0))
    with pytest.raises(TrialDiverged):
        list(run.epochs())


def test_the_state_of_another_number_of_runs_is_refused(folds):
    tensors, metadata = run_of(folds).state()
    with pytest.raises(CheckpointError, match="4 runs"):
        run_of(folds, is_final=True).restore(tensors, metadata)


def test_probes_are_cross_validated_alike(folds):
    run = run_of(folds, kind=SvmRun, is_final=True)
    (result,) = run.epochs()
    assert 0.5 < result.validation_macro_auroc <= 1.0
    again = run_of(folds, kind=SvmRun, is_final=True)
    again.restore(*run.state())
    assert list(again.epochs()) == []
    np.testing.assert_array_equal(again.predict_validation(), run.predict_validation())


def within(labels, scores):
    pairs = np.stack([comparable_pairs(part) for part in labels])
    parts = [macro_auroc(*part) for part in zip(labels, scores, strict=True)]
    return auroc_within(parts, pairs)


def test_networks_of_different_scales_do_not_change_the_score():
    labels = np.array([[1], [0], [1], [0]])
    scores = np.array([[0.9], [0.8], [0.2], [0.1]])
    assert within([labels[:2], labels[2:]], [scores[:2], scores[2:]]).value == 1.0
    assert macro_auroc(labels, scores).value == 0.75


def test_pairs_count_alike_whichever_fold_they_are_in():
    labels = [np.array([[1], [0], [0], [0]]), np.array([[1], [0]])]
    scores = [np.array([[0.9], [0.1], [0.2], [0.3]]), np.array([[0.1], [0.9]])]
    assert within(labels, scores).value == 0.75


def test_a_label_is_left_out_only_where_no_fold_scores_it():
    labels = [np.array([[1, 0, 0], [0, 0, 1]]), np.array([[0, 0, 1], [0, 0, 0]])]
    scores = [np.array([[0.9, 0.5, 0.1], [0.1, 0.5, 0.2]])] * 2
    found = within(labels, scores)
    assert found.left_out == (1,)
    np.testing.assert_array_equal(found.per_label, [1.0, np.nan, 0.5])
    assert found.value == 0.75
