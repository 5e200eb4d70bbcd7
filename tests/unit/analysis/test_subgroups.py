"""Test scores by sex and age group."""

from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World
from scipy import stats
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.readings import Readings
from ecgopt.analysis.subgroups import SmallGroup, compare_subgroups
from ecgopt.evidence.records import load_predictions

WORLD = World(gain=1.5, trials=4, replicates=2, final_seeds=2, has_subgroups=True)


def compare(evidence, workspace, change=lambda predictions: predictions):
    readings = Readings(workspace, evidence.comparison)
    return compare_subgroups(evidence, lambda final: change(readings.predictions(final)))


def test_scores_of_a_group_are_means_of_its_patients_macro_aurocs(evidence, workspace):
    found = compare(evidence, workspace).comparisons
    assert [(each.by, each.group) for each in found] == [
        ("sex", "female"), ("sex", "male"),
        ("age", "under 40"), ("age", "40 to 59"), ("age", "60 to 79"),
    ]  # fmt: skip
    for each in found:
        means = []
        for regime in ("scratch", "fine_tune"):
            scores = []
            for final in evidence.finals:
                if final.role != "tuned" or final.regime != regime:
                    continue
                read = load_predictions(final, workspace)
                rows = np.array(read.subgroups[each.by]) == each.group
                scores.append(roc_auc_score(read.labels[rows], read.scores[rows], average="macro"))
                assert each.n_patients == len(
                    {p for p, r in zip(read.patients, rows, strict=True) if r}
                )
            means.append(np.mean(scores))
        assert [score.estimate for score in each.scores] == pytest.approx(means)
        assert each.interval.estimate == pytest.approx(means[1] - means[0])
        assert all(score.low < score.estimate < score.high for score in each.scores)


def test_a_group_of_all_patients_is_compared_as_the_whole_test_is(evidence, workspace):
    def everyone(predictions):
        return replace(predictions, subgroups={"sex": ("female",) * len(predictions.records)})

    (found,) = compare(evidence, workspace, everyone).comparisons
    (whole,) = compare_cells(evidence, Readings(workspace, evidence.comparison).influence)
    assert found.interval.estimate == pytest.approx(whole.interval.estimate)
    assert found.interval.low == pytest.approx(whole.interval.low)
    assert found.p_difference == pytest.approx(whole.judgement.corrected.difference)
    assert found.decision == whole.decision


def p_of(interval):
    """Return the p value at which the interval, t quantiles in quadrature, would end at zero."""
    error = interval.error

    def beyond(p):
        runs = stats.t.isf(p / 2, error.freedom) * np.sqrt(error.of_runs)
        patients = stats.t.isf(p / 2, error.n_patients - 1) * np.sqrt(error.patient_variance)
        return np.hypot(runs, patients) - abs(interval.estimate)

    return brentq(beyond, 1e-12, 1 - 1e-12)


def test_p_values_have_holms_correction_over_all_groups(evidence, workspace):
    found = compare(evidence, workspace).comparisons
    corrected = multipletests([p_of(each.interval) for each in found], method="holm")[1]
    assert [each.p_difference for each in found] == pytest.approx(list(corrected), rel=1e-4)


def test_small_groups_and_unknown_ones_are_left_out_and_named(evidence, workspace):
    found = compare(evidence, workspace)
    assert set(found.left_out) == {
        SmallGroup(downstream="ptbxl", by="age", group="80 and over", n_patients=3),
        SmallGroup(downstream="ptbxl", by="sex", group="", n_patients=1),
    }
    assert found.not_recorded == ()


def test_a_label_that_too_few_of_a_group_carry_is_left_out_of_its_mean(evidence, workspace):
    def without_first_label_in_women(predictions):
        labels = predictions.labels.copy()
        labels[np.array(predictions.subgroups["sex"]) == "female", 0] = False
        return replace(predictions, labels=labels)

    found = compare(evidence, workspace, without_first_label_in_women).comparisons
    by_group = {each.group: each for each in found}
    n_labels = by_group["male"].n_labels
    assert by_group["female"].n_labels == n_labels - 1
    assert len(by_group["female"].left_out) == 1
    assert by_group["male"].left_out == ()


@pytest.mark.parametrize("every", [True, False])
def test_predictions_without_groups_say_so(evidence, workspace, every):
    seen = []

    def without(predictions):
        seen.append(predictions)
        return replace(predictions, subgroups={}) if every or len(seen) % 2 else predictions

    found = compare(evidence, workspace, without)
    assert found.comparisons == ()
    if every:
        assert found.not_recorded == ("ptbxl",)


def test_an_unfinished_cell_has_no_groups(evidence, workspace):
    missing = replace(evidence, finals=evidence.finals[1:])
    found = compare(missing, workspace)
    assert (found.comparisons, found.left_out, found.not_recorded) == ((), (), ())
