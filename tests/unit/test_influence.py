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


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), digits=st.integers(0, 3))
def test_macro_auroc_and_zero_sum(seed, digits):
    random = np.random.default_rng(seed)
    labels = random.random((40, 3)) < 0.3
    scores = np.round(random.normal(size=(40, 3)) + labels, digits)
    found = influence_of_patients(predictions_of(labels, scores, map(str, range(40))))
    expected = macro_auroc(labels, scores).value
    assert found.macro_auroc == pytest.approx(expected, abs=1e-12, nan_ok=True)
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
