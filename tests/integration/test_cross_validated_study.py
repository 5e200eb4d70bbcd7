"""One comparison by cross-validation through real processes, to its report and its bundle."""

import csv
import json

import pytest
from processes import ecgopt
from tiny_study import tiny_study

N_LABELLED, N_FOLDS = 60, 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    study = folder / "study.toml"
    own = "[space.fine_tune]\nfrozen_stages = { low = 0, high = 5 }\n\n[space.svm_probe]\n"
    text = tiny_study(
        regimes='["scratch", "fine_tune", "svm_probe"]',
        trials=3,
        own=own + "svm_c = { low = 1e-4, high = 1e2, log = true }",
    )
    study.write_text(text.replace("train_sizes", f"validation_folds = {N_FOLDS}\ntrain_sizes"))
    done = ecgopt("run", study, "--workers", 2, "--workspace", folder / "ws", "--out", folder / "o")
    assert done.returncode == 0, done.stderr
    return folder


def rows_of(finished, table):
    with (finished / "o" / "tables" / f"{table}.csv").open() as stream:
        return list(csv.DictReader(stream))


def results_of(finished):
    return json.loads((finished / "o" / "results.json").read_text())


def test_every_regime_has_a_winner_and_a_test_score(finished):
    (cell,) = results_of(finished)["cells"]
    assert all(0 < regime["test_score"] < 1 for regime in cell["regimes"].values())
    assert len(cell["regimes"]) == 3


def test_a_trial_costs_what_the_networks_of_all_folds_cost(finished):
    trials = [row for row in rows_of(finished, "trials") if int(row["trained_epochs"])]
    assert {row["regime"] for row in trials} == {"scratch", "fine_tune", "svm_probe"}
    for row in trials:
        of_an_epoch = int(row["samples"]) / int(row["trained_epochs"])
        assert of_an_epoch == N_LABELLED * (N_FOLDS - 1)


def test_a_final_fit_also_costs_the_network_of_all_records(finished):
    finals = [row for row in rows_of(finished, "cost") if row["line"].startswith("final")]
    assert finals
    for row in finals:
        assert int(row["samples"]) == int(row["epochs"]) * N_LABELLED * N_FOLDS


def test_a_repeated_trial_and_shuffled_labels_pass_their_gates(finished):
    gates = {gate["name"]: gate["state"] for gate in results_of(finished)["gates"]}
    assert gates["shuffled labels give 0.5"] == "passed"
    assert gates["a repeated trial gives the same score"] == "passed"


def test_the_page_says_how_winners_were_chosen(finished):
    page = (finished / "o" / "report.html").read_text()
    assert f"{N_FOLDS}-fold cross-validation over the {N_LABELLED} labelled records" in page
    assert f"The winner of {N_FOLDS}-fold cross-validation over the labelled records" in page


def test_the_bundle_gives_every_number_again(finished):
    bundle = finished / "bundle.zip"
    study, workspace = finished / "study.toml", finished / "ws"
    exported = ecgopt("export", study, bundle, "--workspace", workspace)
    assert exported.returncode == 0, exported.stderr
    verified = ecgopt("verify", bundle)
    # A study this small learns nothing, so that its gates fail; every number must follow.
    failed = [line for line in verified.stdout.splitlines() if line.startswith("FAIL")]
    assert [line[:26] for line in failed] == ["FAIL no sanity gate fails:"], verified.stdout
