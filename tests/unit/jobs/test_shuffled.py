"""The control on labels that say nothing: what it must see and what it must let pass."""

from dataclasses import replace

import numpy as np
import pytest

from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.jobs.check import permutation_error, with_shuffled_labels
from ecgopt.training.metrics import macro_auroc

N_TRAIN, N_VALIDATION = 90, 30


def part(rows):
    rows = np.asarray(rows)
    labels = np.column_stack([rows % 3 == 0, rows % 5 == 0]).astype(np.float32)
    names = tuple(f"r{row}" for row in rows)
    return EcgDataset(
        signals=np.zeros((200, 12, 4), dtype=np.int16),
        rows=rows,
        labels=labels,
        classes=("a", "b"),
        records=names,
        patients=names,
    )


def rows_of_labels(*parts):
    return sorted(tuple(row) for each in parts for row in each.labels.tolist())


@pytest.fixture
def data():
    return TuningData(part(range(N_TRAIN)), part(range(N_TRAIN, N_TRAIN + N_VALIDATION)))


def test_shuffling_moves_label_rows_between_the_parts_and_loses_none(data):
    (shuffled,) = with_shuffled_labels((data,), np.random.default_rng(0))
    before, after = (rows_of_labels(d.train, d.validation) for d in (data, shuffled))
    assert before == after
    assert not np.array_equal(shuffled.train.labels, data.train.labels)
    assert np.array_equal(shuffled.train.rows, data.train.rows)


def test_a_record_in_both_parts_keeps_one_row_of_labels_and_so_betrays_itself(data):
    leaky = TuningData(data.train, replace(part(range(20)), classes=("a", "b")))
    (shuffled,) = with_shuffled_labels((leaky,), np.random.default_rng(0))
    assert np.array_equal(shuffled.validation.labels, shuffled.train.labels[:20])


def test_any_fixed_scores_give_half_on_shuffled_labels_within_the_error_that_is_stated(data):
    random = np.random.default_rng(1)
    labels = data.validation.labels > 0
    scores = random.normal(size=labels.shape)
    error = permutation_error(labels, scores, random)
    drawn = [
        macro_auroc(
            with_shuffled_labels((data,), np.random.default_rng(seed))[0].validation.labels > 0,
            scores,
        ).value
        for seed in range(300)
    ]
    assert np.mean(drawn) == pytest.approx(0.5, abs=4 * error / np.sqrt(300))
    assert np.std(drawn) == pytest.approx(error, rel=0.2)


def test_folds_are_shuffled_as_one_and_a_record_has_the_same_labels_in_all_of_them():
    rows = np.arange(30)
    folds = tuple(
        TuningData(part(rows[rows % 3 != k]), part(rows[rows % 3 == k])) for k in range(3)
    )
    shuffled = with_shuffled_labels(folds, np.random.default_rng(0))
    labels = {}
    for fold in shuffled:
        for each in (fold.train, fold.validation):
            for row, own in zip(each.rows, each.labels.tolist(), strict=True):
                assert labels.setdefault(row, own) == own
    assert rows_of_labels(part(rows)) == sorted(map(tuple, labels.values()))


def test_the_error_of_folds_compares_records_within_their_fold_only():
    random = np.random.default_rng(3)
    labels = random.random((120, 2)) < 0.4
    scores = random.normal(size=labels.shape)
    sizes = [40, 40, 40]
    moved = scores + np.repeat([0.0, 100.0, -100.0], 40)[:, None]
    errors = [
        permutation_error(labels, values, np.random.default_rng(4), fold_sizes=sizes)
        for values in (scores, moved)
    ]
    assert errors[0] == errors[1]
    assert errors[0] > permutation_error(labels, scores, np.random.default_rng(4))


def test_more_records_make_the_error_smaller():
    random = np.random.default_rng(2)

    def error(n):
        labels = np.arange(n)[:, None] % np.array([2, 3]) == 0
        return permutation_error(labels, random.normal(size=labels.shape), random)

    assert error(400) == pytest.approx(error(100) / 2, rel=0.25)
