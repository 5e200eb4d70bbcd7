import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgopt.analysis.bootstrap import bootstrap_macro_auroc, draw_patient_counts
from ecgopt.analysis.influence import align_influences, influence_of_patients
from ecgopt.evidence.predictions import Predictions
from ecgopt.training.metrics import macro_auroc


def predictions_of(labels, scores, patients):
    return Predictions(
        labels=labels,
        scores=scores,
        records=tuple(map(str, range(len(labels)))),
        patients=tuple(patients),
        classes=(),
    )


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), digits=st.integers(0, 3))
def test_macro_auroc_and_zero_sum(seed, digits):
    random = np.random.default_rng(seed)
    labels = random.random((40, 3)) < 0.3
    scores = np.round(random.normal(size=(40, 3)) + labels, digits)
    found = influence_of_patients(predictions_of(labels, scores, map(str, range(40))))
    expected = macro_auroc(labels, scores).value
    assert found.score == pytest.approx(expected, abs=1e-12, nan_ok=True)
    if not np.isnan(expected):
        assert found.values.sum() == pytest.approx(0.0, abs=1e-12)


def test_variance_equals_that_of_resampling_patients_with_several_records_each():
    random = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(400)], 3)
    hardness = np.repeat(random.normal(size=(400, 2)), 3, axis=0)
    labels = np.repeat(random.random((400, 2)) < 0.3, 3, axis=0)
    scores = 1.2 * labels + hardness + 0.3 * random.normal(size=labels.shape)
    found = influence_of_patients(predictions_of(labels, scores, patients))
    resampled = bootstrap_macro_auroc(labels, scores, draw_patient_counts(patients, 2000, random))
    assert np.sqrt((found.values**2).sum()) == pytest.approx(resampled.std(), rel=0.06)


def test_covariance_of_two_runs_equals_that_of_resampling_both_jointly():
    random = np.random.default_rng(1)
    labels = random.random((500, 2)) < 0.3
    hardness = random.normal(size=labels.shape)
    runs = [1.2 * labels + hardness + 0.5 * random.normal(size=labels.shape) for _ in range(2)]
    patients = [f"p{i}" for i in range(500)]
    counts = draw_patient_counts(patients, 2000, random)
    difference = np.subtract(*(bootstrap_macro_auroc(labels, run, counts) for run in runs))
    _, rows = align_influences(
        [influence_of_patients(predictions_of(labels, run, patients)) for run in runs]
    )
    assert np.sqrt(((rows[0] - rows[1]) ** 2).sum()) == pytest.approx(difference.std(), rel=0.06)


def test_patients_missing_from_a_run_have_no_influence_on_it():
    labels = np.array([[True], [False]])
    scores = np.array([[0.9], [0.1]])
    first = influence_of_patients(predictions_of(labels, scores, ["a", "b"]))
    second = influence_of_patients(predictions_of(labels, scores, ["b", "c"]))
    patients, rows = align_influences([first, second])
    assert patients == ("a", "b", "c")
    assert rows[0][2] == rows[1][0] == 0.0


def rare_label(random, n_positives, n_patients=100):
    """Return labels of which each is carried by so many patients, and scores that see them."""
    labels = np.zeros((n_patients, len(n_positives)), bool)
    for label, count in enumerate(n_positives):
        labels[random.choice(n_patients, count, replace=False), label] = True
    return labels, labels + random.normal(size=labels.shape)


@pytest.mark.parametrize("n_positives", [2, 3, 8])
def test_the_variance_of_rare_labels_is_that_of_drawing_other_patients(n_positives):
    random = np.random.default_rng(2)
    names = [f"p{i}" for i in range(100)]
    found = [
        influence_of_patients(predictions_of(*rare_label(random, [n_positives] * 4), names))
        for _ in range(1500)
    ]
    stated = np.mean([(each.values**2).sum() for each in found])
    assert stated == pytest.approx(np.var([each.score for each in found]), rel=0.1)


def test_labels_that_too_few_patients_carry_or_lack_are_left_out():
    labels, scores = rare_label(np.random.default_rng(3), [30, 4, 1, 97])
    names = [f"p{i}" for i in range(100)]
    found = influence_of_patients(predictions_of(labels, scores, names), least_positives=5)
    assert (found.left_out, found.fewest) == ((1, 2, 3), 30)
    assert found.score == pytest.approx(macro_auroc(labels[:, :1], scores[:, :1]).value)


def test_records_of_one_patient_count_as_one_patient_with_the_label():
    labels, scores = rare_label(np.random.default_rng(4), [30, 10])
    names = ["one" if labels[i, 1] else f"p{i}" for i in range(100)]
    found = influence_of_patients(predictions_of(labels, scores, names))
    assert found.left_out == (1,)
