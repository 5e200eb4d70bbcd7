import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ecgopt.analysis.bootstrap import (
    bootstrap_macro_auroc,
    count_draws,
    draw_counts,
    draw_patient_counts,
)


def loop_macro_auroc(labels, scores, counts):
    values = []
    for row in counts:
        rows = np.repeat(np.arange(len(labels)), row)
        values.append(
            np.mean(
                [
                    roc_auc_score(labels[rows, k], scores[rows, k])
                    for k in range(labels.shape[1])
                    if 0 < labels[rows, k].sum() < len(rows)
                ]
            )
        )
    return np.array(values)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    n_records=st.integers(6, 60),
    n_labels=st.integers(1, 4),
    digits=st.integers(0, 3),
)
def test_bootstrap_equals_a_loop_over_resamples_with_ties_and_rare_labels(
    seed, n_records, n_labels, digits
):
    random = np.random.default_rng(seed)
    labels = random.random((n_records, n_labels)) < random.uniform(0.1, 0.9, n_labels)
    labels[0], labels[1] = True, False
    scores = np.round(labels + random.normal(size=labels.shape), digits)
    counts = draw_counts(n_records, 8, random)
    counts = counts[(counts[:, 0] > 0) & (counts[:, 1] > 0)]
    expected = loop_macro_auroc(labels, scores, counts)
    assert bootstrap_macro_auroc(labels, scores, counts) == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_both_classes_of_any_label_has_no_score():
    labels = np.array([[True], [False]])
    counts = np.array([[2, 0], [1, 1]])
    found = bootstrap_macro_auroc(labels, np.array([[0.9], [0.1]]), counts)
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_draws_are_counted_per_record():
    assert count_draws(np.array([[0, 0, 2], [1, 1, 1]]), 3).tolist() == [[2, 0, 1], [0, 3, 0]]


def test_patients_are_drawn_whole():
    patients = ["a", "b", "a", "c", "c", "a"]
    counts = draw_patient_counts(patients, 50, np.random.default_rng(0))
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 3] == counts[:, 4]).all()
