import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patient_sets import made_set

from ecgopt.data.labels import LabelSet
from ecgopt.data.prepared import PreparedSet
from ecgopt.data.sealed import sealed_rows
from ecgopt.data.splits import (
    dataset,
    labelled_rows,
    labelled_subset,
    labels_without_both_classes,
    patients_part,
    pool_rows,
    split_fingerprint,
    stated_rows,
    train_and_validation,
)
from ecgopt.errors import DataError


def pool_and_test(prepared, rows, **how):
    """Return both sides; only tests and `analysis` may know both."""
    return pool_rows(prepared, rows, **how), sealed_rows(prepared, rows, **how)


CLASSES = LabelSet(name="ab", classes=("a", "b"), members={"a": ("a",), "b": ("b",)})


patient_lists = st.lists(st.integers(0, 40).map(lambda p: f"p{p}"), min_size=30, max_size=120)


def patients_of(prepared: PreparedSet, rows) -> set[str]:
    return set(prepared.records["patient"].iloc[rows])


@given(patient_lists, st.integers(0, 5), st.floats(0.3, 0.7))
def test_disjoint_parts_share_no_patient_and_lose_no_record(patients, seed, cut):
    prepared = made_set(patients)
    parts = []
    for low, high in ((0.0, cut), (cut, 1.0)):
        try:
            parts.append(patients_part(prepared, low, high, seed=seed))
        except DataError:
            return
    first, second = parts
    assert not patients_of(prepared, first) & patients_of(prepared, second)
    assert sorted([*first, *second]) == list(range(len(patients)))


def test_part_of_a_patient_does_not_depend_on_the_other_patients():
    few, many = made_set([f"p{i}" for i in range(50)]), made_set([f"p{i}" for i in range(200)])
    in_few = patients_of(few, patients_part(few, 0.0, 0.5, seed=1))
    in_many = patients_of(many, patients_part(many, 0.0, 0.5, seed=1))
    assert in_few == {name for name in in_many if int(name[1:]) < 50}


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.5), (0.5, 0.5), (0.7, 0.2), (0.5, 1.1)])
def test_impossible_part_is_refused(low, high):
    with pytest.raises(DataError, match=r"`0 <= low < high <= 1` must hold"):
        patients_part(made_set(["p"] * 5), low, high, seed=0)


@given(patient_lists, st.integers(0, 5), st.floats(0.1, 0.6))
def test_drawn_test_set_shares_no_patient_with_the_pool(patients, seed, share):
    prepared = made_set(patients)
    rows = np.arange(len(patients))
    try:
        pool, test = pool_and_test(prepared, rows, test_folds=None, test_share=share, seed=seed)
    except DataError:
        return
    assert not patients_of(prepared, pool) & patients_of(prepared, test)
    assert sorted([*pool, *test]) == list(rows)
    assert len(test) >= share * len(rows)


def test_drawn_test_set_has_the_wanted_size():
    prepared = made_set([f"p{i // 2}" for i in range(400)])
    rows = np.arange(400)
    _, test = pool_and_test(prepared, rows, test_folds=None, test_share=0.3, seed=3)
    assert len(test) == 120


def test_folds_make_the_test_set():
    prepared = made_set([f"p{i}" for i in range(20)], folds=[i % 10 + 1 for i in range(20)])
    pool, test = pool_and_test(prepared, np.arange(20), test_folds=[9, 10], test_share=None, seed=0)
    assert test.tolist() == [8, 9, 18, 19]
    assert len(pool) == 16


def test_patient_in_two_folds_is_refused():
    prepared = made_set(["p1", "p1", "p2"], folds=[1, 10, 2])
    with pytest.raises(DataError, match="patient p1 has records inside and outside folds"):
        pool_and_test(prepared, np.arange(3), test_folds=[10], test_share=None, seed=0)


def test_set_without_folds_asks_for_a_share():
    with pytest.raises(DataError, match="x has no folds of its own; give test_share instead"):
        pool_and_test(made_set(["a", "b"]), np.arange(2), test_folds=[1], test_share=None, seed=0)


def test_folds_that_do_not_occur_are_refused():
    prepared = made_set(["p1", "p2"], folds=[1, 2])
    with pytest.raises(DataError, match="the test set is empty"):
        pool_and_test(prepared, np.arange(2), test_folds=[9], test_share=None, seed=0)


@pytest.mark.parametrize(("folds", "share"), [(None, None), ([1], 0.2)])
def test_exactly_one_way_to_make_a_test_set_is_needed(folds, share):
    with pytest.raises(DataError, match="either test_folds or test_share"):
        pool_and_test(made_set(["a"]), np.arange(1), test_folds=folds, test_share=share, seed=0)


@given(patient_lists, st.integers(0, 3), st.integers(0, 3), st.data())
def test_smaller_subset_is_part_of_every_larger_one(patients, seed, replicate, data):
    prepared, pool = made_set(patients), np.arange(len(patients))
    large = data.draw(st.integers(2, len(patients)))
    small = data.draw(st.integers(1, large))
    chosen = [
        labelled_subset(prepared, pool, n, seed=seed, replicate=replicate) for n in (small, large)
    ]
    assert [len(rows) for rows in chosen] == [small, large]
    assert set(chosen[0]) <= set(chosen[1])


@given(patient_lists, st.integers(0, 3), st.data())
def test_subset_cuts_at_most_one_patient(patients, replicate, data):
    prepared, pool = made_set(patients), np.arange(len(patients))
    n = data.draw(st.integers(1, len(patients)))
    rows = set(labelled_subset(prepared, pool, n, seed=0, replicate=replicate))
    names = np.array(patients)
    cut = [
        name
        for name in set(patients)
        if 0 < len(rows & set(np.flatnonzero(names == name))) < (names == name).sum()
    ]
    assert len(cut) <= 1


def test_replicates_draw_other_records():
    prepared, pool = made_set([f"p{i}" for i in range(100)]), np.arange(100)
    first, second = (labelled_subset(prepared, pool, 30, seed=0, replicate=r) for r in (0, 1))
    assert set(first) != set(second)


def test_subset_stays_inside_the_pool():
    prepared = made_set([f"p{i}" for i in range(100)])
    pool = np.arange(10, 40)
    assert set(labelled_subset(prepared, pool, 25, seed=0, replicate=0)) <= set(pool)


def test_pool_smaller_than_the_subset_is_refused():
    with pytest.raises(DataError, match=r"`1 <= n <= 5` must hold .*n=6"):
        labelled_subset(made_set(["p"] * 5), np.arange(5), 6, seed=0, replicate=0)


@settings(max_examples=60)
@given(patient_lists, st.integers(0, 5), st.floats(0.1, 0.5), st.integers(1, 6))
def test_training_and_validation_share_no_patient_and_keep_positives(
    patients, seed, share, n_labels
):
    prepared, rows = made_set(patients), np.arange(len(patients))
    labels = np.random.default_rng(seed).random((len(rows), n_labels)) < 0.15
    if len(set(patients)) < 2:
        return
    train, validation = train_and_validation(
        prepared, rows, labels, validation_share=share, seed=seed
    )
    assert not patients_of(prepared, train) & patients_of(prepared, validation)
    assert sorted([*train, *validation]) == list(rows)
    assert len(train)
    assert len(validation)


def test_rare_label_of_two_patients_is_on_both_sides():
    prepared, rows = made_set([f"p{i}" for i in range(100)]), np.arange(100)
    labels = np.zeros((100, 3), dtype=bool)
    labels[[10, 60], 0] = True
    labels[::4, 1] = True
    labels[1::2, 2] = True
    for seed in range(20):
        train, validation = train_and_validation(
            prepared, rows, labels, validation_share=0.2, seed=seed
        )
        assert labels[train].any(axis=0).all()
        assert labels[validation].any(axis=0).all()
        assert 15 <= len(validation) <= 25


def test_shares_of_labels_are_kept():
    prepared, rows = made_set([f"p{i // 2}" for i in range(1000)]), np.arange(1000)
    labels = np.random.default_rng(0).random((1000, 9)) < np.linspace(0.02, 0.4, 9)
    _, validation = train_and_validation(prepared, rows, labels, validation_share=0.25, seed=0)
    share = labels[validation].sum(axis=0) / labels.sum(axis=0)
    assert np.abs(share - 0.25).max() < 0.1
    assert abs(len(validation) / 1000 - 0.25) < 0.02


def test_equal_seeds_give_equal_splits_and_others_differ():
    prepared, rows = made_set([f"p{i}" for i in range(60)]), np.arange(60)
    labels = np.random.default_rng(0).random((60, 3)) < 0.3
    sides = [
        train_and_validation(prepared, rows, labels, validation_share=0.3, seed=seed)[1].tolist()
        for seed in (1, 1, 2)
    ]
    assert sides[0] == sides[1] != sides[2]


def test_single_patient_cannot_be_divided():
    with pytest.raises(DataError, match="at least two patients"):
        train_and_validation(
            made_set(["p"] * 5),
            np.arange(5),
            np.ones((5, 1), dtype=bool),
            validation_share=0.2,
            seed=0,
        )


def test_labels_without_positives_or_negatives_are_named():
    labels = np.array([[True, False, True], [True, False, False]])
    assert labels_without_both_classes(labels, ("all", "none", "both")) == ("all", "none")


def test_dataset_names_records_and_keeps_the_order_of_rows():
    prepared = made_set([f"p{i}" for i in range(9)])
    chosen = dataset(prepared, np.array([6, 1]), CLASSES)
    assert chosen.records == ("r0006", "r0001")
    assert chosen.labels.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert chosen.labels.dtype == np.float32
    assert chosen.labels_without_both_classes() == ("b",)
    assert len(chosen) == 2


def test_rows_without_any_class_are_not_labelled():
    assert labelled_rows(made_set(["p"] * 7), CLASSES).tolist() == [0, 3, 6]


def test_rows_without_any_statement_are_not_stated():
    assert stated_rows(made_set(["p"] * 7)).tolist() == [0, 3, 6]


def test_fingerprint_of_a_split_depends_on_its_records_alone():
    prepared = made_set(["p"] * 9)
    first = split_fingerprint(prepared, np.array([1, 2]), np.array([3]))
    assert first == split_fingerprint(prepared, np.array([2, 1]), np.array([3]))
    assert first != split_fingerprint(prepared, np.array([1]), np.array([2, 3]))
