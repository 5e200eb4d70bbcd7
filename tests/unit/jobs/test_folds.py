"""Cross-validation of the labelled records: who is held out when."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from patient_sets import made_set
from tiny_study import tiny_study

from ecgopt.data.folds import all_labelled, classes_never_scored, fold_rows, held_out
from ecgopt.errors import DataError
from ecgopt.jobs.datasets import PreparedData, prepare_data
from ecgopt.jobs.runs import ArmRuns
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.fit import TrainingRun
from ecgopt.workspace import Workspace

patient_lists = st.lists(st.integers(0, 99).map(lambda p: f"p{p}"), min_size=60, max_size=150)


@settings(max_examples=40)
@given(patient_lists, st.integers(0, 5), st.integers(2, 6), st.integers(1, 5))
def test_folds_share_no_patient_and_hold_every_record_once(patients, seed, n_folds, n_labels):
    counts = Counter(patients)
    assume(len(counts) >= 4 * n_folds)
    assume(max(counts.values()) * 2 * n_folds <= len(patients))
    prepared, rows = made_set(patients), np.arange(len(patients))
    labels = np.random.default_rng(seed).random((len(rows), n_labels)) < 0.15
    folds = fold_rows(prepared, rows, labels, n_folds=n_folds, seed=seed)
    assert len(folds) == n_folds
    assert all(len(fold) for fold in folds)
    assert sorted(np.concatenate(folds)) == list(rows)
    names = [set(prepared.records["patient"].iloc[fold]) for fold in folds]
    assert sum(map(len, names)) == len(set(patients))


def test_every_fold_gets_its_share_of_records_and_labels():
    prepared, rows = made_set([f"p{i // 2}" for i in range(1000)]), np.arange(1000)
    labels = np.random.default_rng(0).random((1000, 6)) < np.linspace(0.05, 0.4, 6)
    for fold in fold_rows(prepared, rows, labels, n_folds=5, seed=0):
        assert len(fold) == pytest.approx(200, abs=10)
        share = labels[fold].sum(axis=0) / labels.sum(axis=0)
        assert np.abs(share - 0.2).max() < 0.06


def test_labels_stay_with_their_records_when_rows_are_a_part_of_the_set():
    prepared, rows = made_set([f"p{i}" for i in range(200)]), np.arange(1, 200, 2)
    labels = np.zeros((100, 1), dtype=bool)
    labels[:5] = True
    folds = fold_rows(prepared, rows, labels, n_folds=5, seed=1)
    assert [int(labels[np.isin(rows, fold)].sum()) for fold in folds] == [1] * 5


def test_too_few_patients_for_the_folds_are_refused_with_a_remedy():
    prepared, rows = made_set([f"p{i % 3}" for i in range(70)]), np.arange(70)
    with pytest.raises(DataError, match=r"4 folds.*the 3 of 70.*validation_folds"):
        fold_rows(prepared, rows, np.ones((70, 1), dtype=bool), n_folds=4, seed=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    study = folder / "study.toml"
    study.write_text(tiny_study().replace("train_sizes", "validation_folds = 3\ntrain_sizes"))
    spec, workspace = load_spec(study), Workspace(folder / "ws")
    folders = prepare_data(spec, workspace, n_processes=1)
    return PreparedData(spec=spec, workspace=workspace, folders=folders)


def test_all_arms_of_a_replicate_get_the_same_folds(data):
    (first, split), (second, other) = (data.downstream(key) for key in expand_studies(data.spec))
    for one, two in zip(first, second, strict=True):
        assert one.train.records == two.train.records
        assert one.validation.records == two.validation.records
    assert split == other
    assert (split["n_folds"], split["n_labelled"]) == (3, 60)


def test_a_fold_trains_on_the_patients_of_all_others_and_on_no_sealed_one(data):
    folds, _ = data.downstream(expand_studies(data.spec)[0])
    for fold in folds:
        assert len(fold.train) + len(fold.validation) == 60
        assert not set(fold.train.patients) & set(fold.validation.patients)
    labelled = held_out(folds)
    assert len(set(labelled.records)) == 60
    assert set(labelled.rows) <= set(data.pool("down"))
    np.testing.assert_array_equal(
        labelled.labels, np.concatenate([fold.validation.labels for fold in folds])
    )


def test_a_class_is_named_as_never_scored_only_if_no_fold_can_score_it(data):
    folds, split = data.downstream(expand_studies(data.spec)[0])
    lacking = [set(fold.validation.labels_without_both_classes()) for fold in folds]
    assert set(classes_never_scored(folds)) == set.intersection(*lacking)
    assert split["left_out_of_validation"] == list(classes_never_scored(folds))


def test_a_study_from_before_the_option_has_the_single_division(data):
    stored = data.spec.scientific_content()
    del stored["validation_folds"]
    assert StudySpec.model_validate(stored).validation_folds == 1


def test_the_networks_of_a_fold_start_alike_in_all_regimes(data):
    arms = ArmRuns(data.spec, data.workspace, data, torch.device("cpu"), "folds")
    key = expand_studies(data.spec)[0]
    recipe = data.spec.recipe.recipe()
    answers = []
    for regime in ("scratch", "scratch_twin"):
        run, _ = arms.build(
            replace(key, regime=regime, upstream=None), recipe, seed=5, evaluate_after=None
        )
        answers.append(run.predict_validation())
    np.testing.assert_array_equal(*answers)


@pytest.fixture
def single(data):
    """Return the study with one division, its data and its runs, and the scratch study."""
    spec = data.spec.model_copy(update={"validation_folds": 1})
    prepared = PreparedData(spec=spec, workspace=data.workspace, folders=data.folders)
    key = replace(expand_studies(spec)[0], regime="scratch", upstream=None)
    return (
        spec,
        prepared,
        ArmRuns(spec, data.workspace, prepared, torch.device("cpu"), "folds"),
        key,
    )


def test_without_folds_a_trial_is_the_network_of_the_one_division_and_its_seed(single):
    spec, _, arms, key = single
    run, _ = arms.build(key, spec.recipe.recipe(), seed=5, evaluate_after=None)
    assert isinstance(run, TrainingRun)
    assert run.seed == seed_for(5, "training")


def test_the_tested_network_is_trained_on_all_labelled_records(single):
    spec, prepared, arms, key = single
    (fold,), _ = prepared.downstream(key)
    run, _ = arms.build(key, spec.recipe.recipe(), seed=5, evaluate_after=None, is_final=True)
    alone, _ = arms.build(key, spec.recipe.recipe(), seed=5, evaluate_after=None)
    result, of_one = next(run.epochs()), next(alone.epochs())
    assert result.n_samples == len(fold.train) + 60
    # Thresholds and the validation curve are those of the network that leaves validation out.
    assert result.validation_macro_auroc == of_one.validation_macro_auroc
    np.testing.assert_array_equal(run.predict_validation(), alone.predict_validation())
    everything = all_labelled((fold,)).train
    assert set(everything.records) == {*fold.train.records, *fold.validation.records}
    assert len(everything) == 60
    assert not np.array_equal(run.predict(fold.validation), alone.predict(fold.validation))
