"""Metrics against numbers that others published about shipped predictions."""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecgopt.analysis.bootstrap import bootstrap_macro_auroc, count_draws
from ecgopt.analysis.influence import influence_of_patients
from ecgopt.evidence.records import Predictions
from ecgopt.training.challenge import EQUIVALENT, challenge_score, read_weights
from ecgopt.training.metrics import f1_scores, macro_auroc, trivial_scores

DATA = Path(os.environ.get("ECGOPT_DATA", Path(__file__).parents[3] / "../shared/data"))
RESULTS = DATA / "results"
PTBXL = RESULTS / "helme_ptbxl_exp0"
CODE_TEST = RESULTS / "code_test_827"
CHALLENGE = RESULTS / "cinc2020_awwong1_outputs"


def needs(folder):
    reason = f"{folder.name} is missing: set ECGOPT_DATA to the data folder"
    return pytest.mark.skipif(not folder.is_dir(), reason=reason)


@pytest.fixture(scope="module")
def benchmark():
    labels = np.load(PTBXL / "data/y_test.npy", allow_pickle=True).astype(bool)
    scores = np.load(PTBXL / "models/fastai_xresnet1d101/y_test_pred.npy", allow_pickle=True)
    return labels, scores.astype(np.float64)


@needs(PTBXL)
def test_macro_auroc_equals_the_ptbxl_benchmarks_published_point(benchmark):
    assert macro_auroc(*benchmark).value == pytest.approx(0.9254358590055028, abs=1e-9)


@needs(PTBXL)
def test_influence_rests_on_the_same_macro_auroc(benchmark):
    labels, scores = benchmark
    records = tuple(str(row) for row in range(len(labels)))
    found = influence_of_patients(
        Predictions(
            labels=labels,
            scores=scores,
            records=records,
            patients=records,
            classes=tuple(str(column) for column in range(labels.shape[1])),
        )
    )
    # One label of the benchmark's test has a single positive: its error cannot be known.
    assert found.left_out == tuple(np.flatnonzero(labels.sum(axis=0) < 2))
    kept = labels.sum(axis=0) >= 2
    assert found.score == pytest.approx(roc_auc_score(labels[:, kept], scores[:, kept]))


@needs(PTBXL)
def test_bootstrap_equals_the_ptbxl_benchmarks_mean_and_quantiles_on_its_own_resamples(benchmark):
    drawn = np.load(PTBXL / "test_bootstrap_ids.npy", allow_pickle=True).astype(np.int64)
    replicates = bootstrap_macro_auroc(*benchmark, count_draws(drawn, len(benchmark[0])))
    found = [replicates.mean(), *np.quantile(replicates, [0.05, 0.95])]
    assert found == pytest.approx(
        [0.9248700603532448, 0.9185230258692298, 0.9314845724252189], abs=1e-9
    )


READERS = {
    "DNN": "dnn", "cardio.": "cardiology_residents", "emerg.": "emergency_residents",
    "stud.": "medical_students",
}  # fmt: skip
CODE_CLASSES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")


def read_annotations(name: str) -> np.ndarray:
    with (CODE_TEST / f"data/annotations/{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return np.array([[row[label] == "1" for label in CODE_CLASSES] for row in rows])


@needs(CODE_TEST)
@pytest.mark.parametrize("reader", READERS)
def test_f1_equals_the_code_test_table(reader):
    with (CODE_TEST / "outputs/tables/scores.csv").open() as file:
        table = list(csv.reader(file))
    column = next(
        index
        for index, (group, name) in enumerate(zip(table[0], table[1], strict=True))
        if (group, name) == ("F1 score", reader)
    )
    published = {row[0]: row[column] for row in table[2:]}
    predicted = read_annotations(READERS[reader]).astype(np.float64)
    thresholds = np.full(len(CODE_CLASSES), 0.5)
    f1 = f1_scores(read_annotations("gold_standard"), predicted, thresholds)
    found = dict(zip(CODE_CLASSES, f1, strict=True))
    assert {name: f"{value:.3f}" for name, value in found.items()} == published


def merge_codes(values, codes, classes):
    """Return `values` with one column per class; equivalent codes count as one."""
    merged = np.zeros((len(values), len(classes)), dtype=bool)
    for index, code in enumerate(codes):
        if (merged_code := EQUIVALENT.get(code, code)) in classes:
            merged[:, classes.index(merged_code)] |= values[:, index]
    return merged


@needs(CHALLENGE)
def test_challenge_score_equals_the_official_evaluation():
    weights = read_weights(DATA / "metadata/evaluation-2020/weights.csv")
    labels, predicted = [], []
    for output in sorted(CHALLENGE.glob("[!_]*.csv")):
        header = next(path for path in DATA.glob(f"*/{output.stem}.hea")).read_text()
        codes = [code.strip() for code in re.search(r"#\s*Dx:(.*)", header)[1].split(",")]
        labels.append(merge_codes(np.ones((1, len(codes)), bool), codes, weights.classes))
        lines = output.read_text().splitlines()
        flags = np.array([[flag.strip() == "1" for flag in lines[2].split(",")]])
        predicted.append(merge_codes(flags, lines[1].split(","), weights.classes))
    official = (CHALLENGE / "_official_scores.csv").read_text().splitlines()
    column = official[0].split(",").index("Challenge metric")
    found = challenge_score(np.concatenate(labels), np.concatenate(predicted), weights)
    assert f"{found:.3f}" == official[1].split(",")[column]


@pytest.mark.parametrize(
    ("prevalences", "top_class", "all_on"),
    [
        # arXiv 2402.02021's small targets: PTB's test set (NORM, MI) and all of CODE-test.
        ((29 / 173, 120 / 173), 0.660, 0.716),
        ((681 / 827, 28 / 827, 34 / 827, 30 / 827, 16 / 827, 13 / 827, 37 / 827), 0.733, 0.746),
    ],
)
def test_trivial_predictors_score_high_on_the_published_studys_small_targets(
    prevalences, top_class, all_on
):
    n_records = 173 if len(prevalences) == 2 else 827
    labels = np.zeros((n_records, len(prevalences)), dtype=bool)
    for column, prevalence in enumerate(prevalences):
        labels[: round(prevalence * n_records), column] = True
    found = trivial_scores(labels)["weighted_f1_at_half"]
    assert found == pytest.approx(max(top_class, all_on), abs=0.0015)
