"""Arms with networks of their own, from the study file to the report, in real processes."""

import csv
import io
import json

import pytest
from processes import ecgopt

from ecgopt.analysis.conclude import conclude
from ecgopt.comparison.evidence import load_evidence
from ecgopt.evidence.consistency import contradictions
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace

NETWORKS = """
[diagnostics]
shuffled_labels = false
rerun = false

[[models]]
name = "inception1d"
width = 2

[arms.foundation]
start = "fine_tune"
model = "resnet1d18-w2"

[arms.supervised]
model = "inception1d-w2"

[arms.supervised_again]
model = "inception1d-w2"

[space.foundation]
frozen_stages = { low = 0, high = 5 }
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return the folder of a finished study of a fine-tuned network, another, and its twin."""
    from tiny_study import tiny_study

    folder = tmp_path_factory.mktemp("arms")
    text = tiny_study(
        regimes='["supervised", "foundation", "supervised_again"]',
        own=NETWORKS,
        trials=2,
        replicates=2,
        epochs_high=3,
        published_epochs=2,
    )
    text += '\n[verdict]\npairs = [["supervised_again", "foundation"]]\n'
    text = text.replace("[published]", "[published]\nfinal_fits = false")
    (folder / "study.toml").write_text(text)
    arguments = ["--workers", 2, "--workspace", folder / "ws", "--out", folder / "out"]
    done = ecgopt("run", folder / "study.toml", *arguments)
    assert done.returncode == 0, done.stderr
    assert "up → down, own networks, n = 60" in done.stdout
    return folder


def test_one_cell_compares_the_arms_by_name(ran):
    results = json.loads((ran / "out" / "results.json").read_text())
    (cell,) = results["cells"]
    assert cell["cell"]["model"] == "own-networks"
    assert list(cell["regimes"]) == ["supervised", "foundation", "supervised_again"]
    of_reference = [each for each in cell["comparisons"] if each["reference"] == "supervised"]
    compared = {each["regime"]: each for each in of_reference}
    assert compared.keys() == {"foundation", "supervised_again"}
    for each in compared.values():
        assert each["reference"] == "supervised"
        assert each["verdict"] in {
            f"{each['regime']} wins", "supervised wins", "equivalent", "undecided"
        }  # fmt: skip
    assert results["comparison"]["arms"] == {
        "foundation": {"start": "fine_tune", "model": "resnet1d18-w2", "upstream": None},
        "supervised": {"start": "scratch", "model": "inception1d-w2", "upstream": None},
        "supervised_again": {"start": "scratch", "model": "inception1d-w2", "upstream": None},
    }


def test_the_tables_name_the_network_of_each_arm(ran):
    networks = {
        "supervised": "inception1d-w2",
        "foundation": "resnet1d18-w2",
        "supervised_again": "inception1d-w2",
    }
    for name in ("trials", "finals", "counts", "cost"):
        text = (ran / "out" / "tables" / f"{name}.csv").read_text()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["regime"]: row["model"] for row in rows} == networks


def test_every_arm_is_ranked_and_set_against_its_cost(ran):
    results = json.loads((ran / "out" / "results.json").read_text())
    assert {each["regime"] for each in results["ranking"]["arms"]} == {
        "supervised", "foundation", "supervised_again"
    }  # fmt: skip
    (cell,) = results["cells"]
    found = {each["regime"]: each for each in cell["score_against_cost"]}
    for name, arm in cell["regimes"].items():
        assert found[name]["score"] == arm["test_score"]
        spent = arm["cost"]
        per_target = (spent["tuning"]["seconds"] + spent["finals"]["seconds"]) / 2
        seconds = spent["pretraining"]["seconds"] + per_target
        assert found[name]["seconds"] == pytest.approx(seconds)


def test_a_further_pair_is_judged_between_its_two_sides(ran):
    (cell,) = json.loads((ran / "out" / "results.json").read_text())["cells"]
    *_, found = cell["comparisons"]
    assert (found["reference"], found["regime"]) == ("supervised_again", "foundation")
    (first, _, _) = cell["comparisons"]
    assert found["difference"] == pytest.approx(first["difference"], abs=1e-12)


def test_every_arm_spends_the_same_budget_on_its_own_network(ran):
    spec = load_spec(ran / "study.toml")
    workspace = Workspace(ran / "ws")
    evidence = load_evidence(spec, workspace, f"sqlite:///{workspace.sqlite_file}")
    (cell,) = conclude(evidence, workspace.root).cells
    networks = {
        "supervised": "inception1d-w2",
        "foundation": "resnet1d18-w2",
        "supervised_again": "inception1d-w2",
    }
    for name, network in networks.items():
        arm = cell.arms[name].arm
        assert {study.model for study in arm.studies} == {network}
        assert [len(study.trials) for study in arm.studies] == [2, 2]
        assert len(arm.finals) == 2
    (pretraining,) = evidence.pretrainings
    assert (pretraining.upstream, pretraining.model) == ("up", "resnet1d18-w2")
    assert cell.arms["foundation"].cost.pretraining.samples == pretraining.n_samples > 0
    assert cell.arms["supervised"].cost.pretraining.samples == 0
    assert all(not found for found in contradictions(evidence, workspace.root).values())


def test_equal_arms_differ_by_exactly_zero_and_never_win(ran):
    (cell,) = json.loads((ran / "out" / "results.json").read_text())["cells"]
    (twin,) = [each for each in cell["comparisons"] if each["regime"] == "supervised_again"]
    assert twin["difference"] == 0.0
    assert "wins" not in twin["verdict"]


def test_the_report_says_what_each_arm_is(ran):
    page = (ran / "out" / "report.html").read_text()
    for arm in (
        "foundation is resnet1d18-w2, fine-tune",
        "supervised again is inception1d-w2, scratch",
    ):
        assert arm in page.lower()
    assert "own networks" in page


def test_the_bundle_verifies_but_for_gates_that_such_small_networks_fail(ran):
    study, bundle = ran / "study.toml", ran / "bundle.zip"
    exported = ecgopt("export", study, bundle, "--workspace", ran / "ws")
    assert exported.returncode == 0, exported.stderr
    verified = ecgopt("verify", bundle)
    lines = verified.stdout.splitlines()
    assert sum(line.startswith("ok ") for line in lines) > 10
    failed = [line for line in lines if line.startswith("FAIL")]
    assert all("no sanity gate fails" in line for line in failed), verified.stdout


def test_a_reader_sees_each_arm_in_the_list_of_trials(ran):
    seen = ecgopt("trials", ran / "study.toml", "--workspace", ran / "ws")
    assert seen.returncode == 0, seen.stderr
    assert "foundation" in seen.stdout
