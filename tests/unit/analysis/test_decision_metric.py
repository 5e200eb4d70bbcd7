"""The verdict by another metric than macro AUROC."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score

from ecgopt.analysis.conclude import conclude
from ecgopt.analysis.influence import influence_of_patients
from ecgopt.evidence.predictions import Predictions
from ecgopt.report.paper_table import paper_table
from ecgopt.report.results import results
from ecgopt.report.terminal import answer_lines, verdict_lines
from ecgopt.training.metrics import METRICS
from tests.support.fakes_evidence import World, invent

CLASSES = ("A", "B", "C")


def invented_test(random, n_patients=150, records=2, digits=3):
    labels = np.repeat(random.random((n_patients, len(CLASSES))) < 0.25, records, axis=0)
    hardness = np.repeat(random.normal(size=(n_patients, len(CLASSES))), records, axis=0)
    logits = 1.5 * labels - 1.0 + hardness + 0.4 * random.normal(size=labels.shape)
    return Predictions(
        labels=labels,
        scores=np.round(1 / (1 + np.exp(-logits)), digits),
        records=tuple(map(str, range(len(labels)))),
        patients=tuple(np.repeat([f"p{i:04d}" for i in range(n_patients)], records).tolist()),
        classes=CLASSES,
    )


def of_sklearn(name, labels, scores, weights=None):
    """Return scikit-learn's metric, higher is better; thresholds are one half."""
    each = {
        "macro_auprc": lambda y, s: average_precision_score(y, s, sample_weight=weights),
        "brier": lambda y, s: -brier_score_loss(y, s, sample_weight=weights),
        "macro_f1": lambda y, s: f1_score(y, s >= 0.5, sample_weight=weights),
    }[name]
    return np.mean([each(labels[:, k], scores[:, k]) for k in range(labels.shape[1])])


@pytest.mark.parametrize(
    ("name", "digits"), [("macro_auprc", 1), ("macro_auprc", 3), ("brier", 3), ("macro_f1", 3)]
)
def test_the_influence_gives_the_spread_over_draws_of_other_patients(name, digits):
    found = invented_test(np.random.default_rng(3), digits=digits)
    influence = influence_of_patients(
        found, metric=METRICS[name], thresholds=dict.fromkeys(CLASSES, 0.5)
    )
    assert influence.score == pytest.approx(of_sklearn(name, found.labels, found.scores))
    assert influence.values.sum() == pytest.approx(0.0, abs=1e-3)
    random = np.random.default_rng(0)
    drawn = [
        of_sklearn(name, found.labels, found.scores, np.repeat(counts, 2))
        for counts in random.multinomial(150, np.full(150, 1 / 150), size=150)
    ]
    assert np.sqrt((influence.values**2).sum()) == pytest.approx(np.std(drawn), rel=0.2)


def test_a_label_that_too_few_patients_carry_is_left_out_of_any_mean_over_labels():
    found = invented_test(np.random.default_rng(4))
    labels = found.labels.copy()
    labels[:, 2] = False
    labels[:3, 2] = True
    rare = replace(found, labels=labels)
    influence = influence_of_patients(rare, metric=METRICS["macro_auprc"], least_positives=5)
    assert influence.left_out == (2,)
    expected = of_sklearn("macro_auprc", labels[:, :2], found.scores[:, :2])
    assert influence.score == pytest.approx(expected)


@pytest.fixture(scope="module")
def stored(workspace):
    return invent(World(replicates=2, final_seeds=1, n_patients=120), workspace)


def decided_by(evidence, name):
    verdict = {**evidence.comparison.spec["verdict"], "metric": name}
    spec = {**evidence.comparison.spec, "verdict": verdict}
    return replace(evidence, comparison=replace(evidence.comparison, metric=name, spec=spec))


@pytest.mark.parametrize("name", ["macro_auprc", "brier"])
def test_every_output_compares_the_arms_by_the_metric_of_the_verdict(stored, workspace, name):
    concluded = conclude(decided_by(stored, name), workspace)
    sign, title = {"macro_auprc": (1, "macro AUPRC"), "brier": (-1, "negative Brier score")}[name]
    means = {
        regime: sign * np.mean([f.metrics[name] for f in stored.finals
                                if f.regime == regime and f.role == "tuned"])
        for regime in ("scratch", "fine_tune")
    }  # fmt: skip
    (cell,) = concluded.cells
    (found,) = cell.comparisons
    assert found.interval.estimate == pytest.approx(means["fine_tune"] - means["scratch"])
    assert found.interval.error.n_patients == 120
    content = results(concluded)
    assert content["comparison"]["metric"] == name
    assert content["comparison"]["winners_chosen_by"] == "validation macro_auroc"
    for regime, mean in means.items():
        assert content["cells"][0]["regimes"][regime]["test_score"] == pytest.approx(mean)
    assert f"Test {title}" in answer_lines(concluded)[1]
    assert f"Test {title} of" in paper_table(concluded, "md")
    assert len(verdict_lines(concluded)) >= 1


def test_the_metric_turns_no_gate_on_the_selection(stored, workspace):
    """Optimism compares validation with test in the unit that chose the winners."""
    name = "validation does not promise far more than the test gives"

    def gate(metric):
        gates = conclude(decided_by(stored, metric), workspace).gates
        return next(each for each in gates if each.name == name)

    assert gate("macro_auprc") == gate("macro_auroc")
