import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from ecgopt.training.metrics import (
    average_precision,
    best_thresholds,
    brier_scores,
    calibration_errors,
    f1_scores,
    macro,
    macro_auroc,
    prevalence_weighted_f1,
)


def predictions(seed, n_records, n_labels, decimals=None):
    generator = np.random.default_rng(seed)
    labels = generator.random((n_records, n_labels)) < generator.uniform(0.02, 0.9, n_labels)
    scores = generator.random((n_records, n_labels))
    return labels, scores if decimals is None else scores.round(decimals)


@st.composite
def two_class_columns(draw):
    """Label and score columns with many ties, each with both classes."""
    n = draw(st.integers(2, 60))
    truth = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda t: 0 < sum(t) < n))
    scores = draw(st.lists(st.sampled_from([-2.0, 0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n))
    return np.array(truth)[:, None], np.array(scores)[:, None]


@pytest.mark.parametrize("decimals", [None, 2, 1, 0])
def test_macro_auroc_equals_scikit_learn(decimals):
    for seed in range(20):
        labels, scores = predictions(seed, 300, 7, decimals)
        expected = roc_auc_score(labels, scores, average="macro")
        assert macro_auroc(labels, scores).value == pytest.approx(expected, abs=1e-12)


@given(two_class_columns())
def test_auroc_of_tied_scores_equals_scikit_learn(columns):
    labels, scores = columns
    assert macro_auroc(labels, scores).value == pytest.approx(
        roc_auc_score(labels[:, 0], scores[:, 0]), abs=1e-12
    )


@given(two_class_columns())
def test_average_precision_of_tied_scores_equals_scikit_learn(columns):
    labels, scores = columns
    assert average_precision(labels, scores)[0] == pytest.approx(
        average_precision_score(labels[:, 0], scores[:, 0]), abs=1e-12
    )


def test_labels_without_both_classes_are_left_out_and_named():
    labels, scores = predictions(0, 50, 4)
    labels[:, 1] = False
    labels[:, 3] = True
    result = macro_auroc(labels, scores)
    assert result.left_out == (1, 3)
    assert np.isnan(result.per_label[[1, 3]]).all()
    assert result.value == pytest.approx(
        roc_auc_score(labels[:, [0, 2]], scores[:, [0, 2]], average="macro"), abs=1e-12
    )


def test_macro_auroc_is_nan_when_no_label_can_be_scored():
    result = macro_auroc(np.zeros((5, 2)), np.random.default_rng(0).random((5, 2)))
    assert np.isnan(result.value)
    assert result.left_out == (0, 1)


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        macro_auroc(np.eye(2), np.array([[0.0, np.nan], [1.0, 0.5]]))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(3, 3\)"):
        macro_auroc(np.zeros((3, 2)), np.zeros((3, 3)))


def test_f1_equals_scikit_learn():
    labels, scores = predictions(1, 400, 6)
    thresholds = np.linspace(0.1, 0.9, 6)
    expected = f1_score(labels, scores >= thresholds, average=None, zero_division=0)
    np.testing.assert_allclose(f1_scores(labels, scores, thresholds), expected, atol=1e-12)


def test_f1_of_a_label_neither_present_nor_predicted_is_zero():
    assert f1_scores(np.zeros((4, 1)), np.zeros((4, 1)), np.array([0.5]))[0] == 0


@given(two_class_columns())
def test_no_threshold_beats_the_best_threshold(columns):
    labels, scores = columns
    best = f1_scores(labels, scores, best_thresholds(labels, scores))[0]
    rivals = [f1_scores(labels, scores, np.array([t]))[0] for t in np.unique(scores)]
    assert best == pytest.approx(max(rivals), abs=1e-12)


def test_a_label_without_positives_is_never_predicted_by_its_best_threshold():
    assert best_thresholds(np.zeros((3, 1)), np.ones((3, 1)))[0] == np.inf


def test_the_published_metric_equals_scikit_learns_support_weighted_f1():
    labels, scores = predictions(2, 400, 6)
    expected = f1_score(labels, scores >= 0.5, average="weighted", zero_division=0)
    assert prevalence_weighted_f1(labels, scores, 0.5) == pytest.approx(expected, abs=1e-12)


def test_brier_score_equals_scikit_learn():
    labels, scores = predictions(3, 200, 3)
    expected = [brier_score_loss(labels[:, k], scores[:, k]) for k in range(3)]
    np.testing.assert_allclose(brier_scores(labels, scores), expected, atol=1e-12)


def test_the_macro_mean_leaves_out_labels_without_a_score():
    assert macro(np.array([0.5, np.nan, 1.0])) == 0.75


def test_the_calibration_error_is_the_distance_of_probability_and_share():
    labels = np.array([[True], [False]] * 50)
    assert calibration_errors(labels, np.full((100, 1), 0.9)) == pytest.approx([0.4])
    assert calibration_errors(labels, np.full((100, 1), 0.5)) == pytest.approx([0.0])


def test_probabilities_that_are_true_have_a_small_calibration_error():
    random = np.random.default_rng(0)
    scores = random.random((20_000, 2))
    labels = random.random((20_000, 2)) < scores
    assert (calibration_errors(labels, scores) < 0.02).all()
    assert (calibration_errors(labels, scores**3) > 0.1).all()
