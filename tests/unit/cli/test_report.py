import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.cli.app import build_app
from ecgopt.errors import UserError
from ecgopt.evidence.bundle import write_bundle
from ecgopt.report.results import results

STUDY = """
name = "planned"
upstreams = ["up"]
downstreams = ["down"]
train_sizes = [100]

[data.up]
source = "ptbxl"
labels = "ptbxl_superclass"
folders = ["raw"]
patients = [0.0, 0.5]

[data.down]
source = "ptbxl"
labels = "ptbxl_superclass"
folders = ["raw"]
patients = [0.5, 1.0]
test_share = 0.3

[[models]]
name = "resnet1d18"
width = 2

[space.shared.learning_rate]
low = 1e-5
high = 0.1
log = true

[space.shared.epochs]
low = 5
high = 100

[budget]
trials = 20
replicates = 5
"""


@pytest.fixture(scope="module")
def app():
    return build_app()


@pytest.fixture(scope="module")
def run(app):
    def run_command(*words):
        return app([str(word) for word in words], result_action="return_value")

    return run_command


def bundle_in(folder, **world):
    evidence = invent(World(replicates=2, final_seeds=1, trials=8, **world), folder / "w")
    content = results(conclude(evidence, folder / "w"))
    return write_bundle(evidence, folder / "w", folder / "bundle.zip", results=content)


@pytest.fixture
def bundle(tmp_path):
    return bundle_in(tmp_path)


def test_answer_prints_three_lines(run, bundle, capsys):
    run("answer", bundle)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_report_writes_the_page_and_names_it(run, bundle, tmp_path, capsys):
    run("report", bundle, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(("form", "mark"), [("md", "| georgia"), ("latex", r"\toprule")])
def test_report_prints_a_table_for_a_paper(run, bundle, capsys, form, mark):
    run("report", bundle, "--format", form)
    assert mark in capsys.readouterr().out


def test_verify_says_how_much_follows(run, bundle, capsys):
    run("verify", bundle)
    assert "follow from the raw data" in capsys.readouterr().out


def test_verify_ends_with_an_error_where_a_number_does_not_follow(run, tmp_path):
    evidence = invent(World(replicates=2, final_seeds=1, trials=8), tmp_path / "w")
    content = results(conclude(evidence, tmp_path / "w"))
    content["cells"][0]["comparisons"][0]["difference"] = 0.5
    path = write_bundle(evidence, tmp_path / "w", tmp_path / "b.zip", results=content)
    with pytest.raises(UserError, match=r"1 of .* do not hold"):
        run("verify", path)


def test_merge_joins_two_clusters(run, tmp_path, capsys):
    parts = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        parts.append(bundle_in(tmp_path / str(seed), seed=seed))
    run("merge", tmp_path / "whole.zip", *parts)
    assert "4 replicates" in capsys.readouterr().out
    run("verify", tmp_path / "whole.zip")


def test_merge_of_one_bundle_is_refused(run, bundle, tmp_path):
    with pytest.raises(UserError, match="at least two"):
        run("merge", tmp_path / "whole.zip", bundle)


def test_plan_measures_the_time_and_tells_the_power(run, tmp_path, capsys):
    (tmp_path / "study.toml").write_text(STUDY)
    run("plan", tmp_path / "study.toml")
    printed = capsys.readouterr().out
    assert "of one worker" in printed
    assert "assumed for a macro AUROC; a pilot of three replicates would measure it" in printed
    assert "replicates" in printed


def test_plan_takes_spread_from_a_pilot(run, bundle, tmp_path, capsys):
    (tmp_path / "study.toml").write_text(STUDY)
    run("plan", tmp_path / "study.toml", "--pilot", bundle)
    assert "measured in the pilot" in capsys.readouterr().out


def test_a_bundle_that_is_missing_is_named(run, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.zip"):
        run("answer", tmp_path / "nowhere.zip")
