"""A study whose network, start, sampler, metric and data source come from outside the package."""

import csv
import json
import sys

import pytest
from documents import ROOT, blocks
from processes import ecgopt
from tiny_study import begin

from ecgopt.data.sources.catalog import source
from ecgopt.data.sources.synthetic import SyntheticSettings, write_synthetic
from ecgopt.errors import StudyFileError, StudyMismatch, UserError
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.study_file.reading import load_spec

PAGES = ("own-network.md", "own-regime.md", "own-sampler.md", "own-data-source.md", "own-metric.md")
REPLACED = {
    'name = "resnet1d18"\nwidth = 2': 'name = "tiny_network:build"\nwidth = 4',
    '"scratch", "fine_tune"': '"scratch", "fine_tune", "fixed_stem:FIXED_STEM"',
    "train_sizes = [60]": 'train_sizes = [60]\nmetrics = ["screening:SENSITIVITY"]',
    'name = "tpe"': 'name = "greedy:build"',
    '[data.down]\nsource = "synthetic"': '[data.down]\nsource = "hospital:exports"',
    'synthetic = { records = 160, seed = 2, population = "B" }': 'folders = ["{records}"]',
}


METRIC = "sensitivity_at_95_specificity"


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Return a folder that holds the modules of the how-to pages, and can be imported from."""
    folder = tmp_path / "lab"
    folder.mkdir()
    for page in PAGES:
        for block in blocks(ROOT / "docs" / "how-to" / page):
            if block.file:
                (folder / block.file).write_text(block.text)
                # Imported by an earlier test, from another folder.
                monkeypatch.delitem(sys.modules, block.file.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    return folder


@pytest.fixture
def study(study_file, lab, tmp_path):
    records = tmp_path / "records"
    write_synthetic(records, SyntheticSettings(n_records=160, seed=2, population="B"))
    path = study_file(own="[space.fine_tune]\nfrozen_stages = { low = 0, high = 2 }")
    text = path.read_text()
    for old, new in REPLACED.items():
        assert old in text
        text = text.replace(old, new.replace("{records}", str(records)))
    path.write_text(text)
    return path


def test_a_study_of_outside_parts_runs_to_its_report_and_refuses_changed_code(study, lab, tmp_path):
    workspace, out = tmp_path / "ws", tmp_path / "out"
    arguments = ("run", study, "--workers", 1, "--workspace", workspace, "--out", out)
    first = ecgopt(*arguments)
    assert first.returncode == 0, first.stderr
    (cell,) = json.loads((out / "results.json").read_text())["cells"]
    assert cell["cell"]["model"] == "tiny_network.build-w4"
    with (out / "tables" / "finals.csv").open() as table:
        assert all(0 <= float(row[METRIC]) <= 1 for row in csv.DictReader(table))
    assert f'"{METRIC}": 0.' in (out / "results.json").read_text()
    assert "sensitivity at 95 % specificity" in (out / "report.html").read_text()
    module = lab / "tiny_network.py"
    module.write_text(module.read_text().replace("AvgPool1d(4)", "AvgPool1d(2)"))
    second = ecgopt(*arguments)
    assert second.returncode == 2
    assert "code.network tiny_network:build was 'tiny_network sha256:" in second.stderr
    assert second.stderr.count("\n") == 1


def test_the_stored_content_names_the_code_of_every_outside_part(study):
    content = load_spec(study).scientific_content()
    assert {name: code.partition(":")[0] for name, code in content["code"].items()} == {
        "network tiny_network:build": "tiny_network sha256",
        "start fixed_stem:FIXED_STEM": "fixed_stem sha256",
        "sampler greedy:build": "greedy sha256",
        "metric screening:SENSITIVITY": "screening sha256",
        "data source hospital:exports": "hospital sha256",
    }


def test_a_study_of_built_in_parts_names_no_code(study_file):
    assert "code" not in load_spec(study_file()).scientific_content()


def test_an_outside_part_that_is_not_there_is_refused_before_anything_begins(study, tmp_path):
    text = study.read_text()
    for old, new, message in (
        ("tiny_network:build", "tiny_network:bild", "did you mean 'build'"),
        ("fixed_stem:FIXED_STEM", "fixed_stem:freeze_stem", "must be a Regime, but is <function"),
        ("greedy:build", "greedyy:build", "'greedyy' cannot be imported"),
        ("screening:SENSITIVITY", "screening:sensitivity", "must be a Metric object, but is <func"),
        ("screening:SENSITIVITY", "macro_auroc", "is called 'macro_auroc', as another one is"),
        ("hospital:exports", "hospital:Hospital", "must be a Source object, but is <class"),
    ):
        study.write_text(text.replace(old, new))
        with pytest.raises(UserError, match=message):
            begin(study, tmp_path / "ws")


def test_a_part_of_the_wrong_type_is_refused(lab):
    (lab / "wrong_types.py").write_text("number = 3\n\ndef build(spec, shape):\n    return 3\n")
    with pytest.raises(UserError, match=r"must be a function of .*, but is 3"):
        build_model(ModelSpec(name="wrong_types:number"), n_labels=2, seed=0)
    with pytest.raises(UserError, match="must be a function that returns a StagedModel, but is 3"):
        build_model(ModelSpec(name="wrong_types:build"), n_labels=2, seed=0)
    with pytest.raises(UserError, match="must be a Source object, but is 3"):
        source("wrong_types:number")


def test_a_part_is_named_as_documented(study):
    study.write_text(study.read_text().replace("greedy:build", "greedy:bu ild"))
    with pytest.raises(StudyFileError, match=r"\[sampler\] name"):
        load_spec(study)


def test_another_worker_with_other_code_is_refused(study, lab, tmp_path):
    begin(study, tmp_path / "ws")
    module = lab / "greedy.py"
    module.write_text(module.read_text().replace("128", "64"))
    with pytest.raises(StudyMismatch, match="sampler greedy:build"):
        begin(study, tmp_path / "ws")
