"""The calibration curve of an arm's final fits."""

from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World
from sklearn.calibration import calibration_curve as curve_of_sklearn

from ecgopt.analysis.arms import sort_into_arms
from ecgopt.analysis.calibration import calibration_curve
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import load_predictions

WORLD = World(trials=4, replicates=2, final_seeds=2)


def curve(evidence, predictions_of, regime="scratch"):
    ((_, arms),) = sort_into_arms(evidence).items()
    return calibration_curve(arms[regime], predictions_of, evidence.comparison)


def test_the_curve_is_the_mean_of_the_reliability_diagrams_of_the_final_fits(evidence, workspace):
    found = curve(evidence, lambda final: load_predictions(final, workspace))
    diagrams = [
        curve_of_sklearn(
            read.labels.ravel(), read.scores.ravel(), n_bins=10, strategy="quantile"
        )
        for final in evidence.finals
        if (final.role, final.regime) == ("tuned", "scratch")
        for read in [load_predictions(final, workspace)]
    ]  # fmt: skip
    shares, probabilities = np.mean(diagrams, axis=0)
    assert len(found) == 10
    # A record on the border of two groups may be in either.
    assert [point.predicted for point in found] == pytest.approx(list(probabilities), abs=0.005)
    assert [point.observed.estimate for point in found] == pytest.approx(list(shares), abs=0.02)


def independent_records(generator, n_patients, *, twice=False):
    """Return calibrated predictions; `twice` repeats every record under its patient."""
    scores = generator.uniform(size=(n_patients, 1))
    labels = generator.uniform(size=scores.shape) < scores
    patients = np.arange(n_patients)
    if twice:
        scores, labels, patients = (
            np.repeat(each, 2, axis=0) for each in (scores, labels, patients)
        )
    return Predictions(
        labels=labels,
        scores=scores,
        records=tuple(f"r{row}" for row in range(len(scores))),
        patients=tuple(f"p{patient:05d}" for patient in patients),
        classes=("AF",),
    )


def test_the_error_of_a_share_is_that_of_a_binomial_over_patients_not_over_records(evidence):
    for twice in (False, True):
        read = independent_records(np.random.default_rng(1), 4000, twice=twice)
        for point in curve(evidence, lambda _, read=read: read):
            share, n_patients = point.observed.estimate, 400
            binomial = np.sqrt(share * (1 - share) / n_patients)
            # One patient's records may be divided by the border of two groups.
            assert point.observed.error.standard_error == pytest.approx(binomial, rel=0.02)


def test_the_intervals_of_calibrated_probabilities_cover_the_diagonal(evidence):
    generator = np.random.default_rng(2)
    n_covered = n_points = 0
    for _ in range(40):
        read = independent_records(generator, 300)
        for point in curve(evidence, lambda _, read=read: read):
            n_points += 1
            n_covered += point.observed.low <= point.predicted <= point.observed.high
    assert 0.90 <= n_covered / n_points <= 0.985


def test_an_arm_whose_predictions_were_not_all_kept_has_no_curve(evidence, workspace):
    (first, *_) = evidence.finals
    kept = load_predictions(first, workspace)
    assert curve(evidence, lambda final: kept if final.seed_index else None) == ()
    assert curve(replace(evidence, finals=()), lambda _: kept) == ()
