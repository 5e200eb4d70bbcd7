"""The Python API, as the how-to page on notebooks uses it."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from documents import ROOT, blocks
from fakes_evidence import World, invent

import ecgopt
from ecgopt.errors import StudyFileError, UserError
from ecgopt.evidence.bundle import write_bundle

PAGE = ROOT / "docs" / "how-to" / "notebook.md"


def in_new_process(code):
    """Return what a new interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_page_runs_from_its_first_block_to_its_last(study_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "studies").mkdir()
    study_file("studies/demo.toml")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(PAGE):
        exec(compile(block.text, str(block), "exec"), names)
    assert names["progress"].is_finished
    assert names["trials"].groupby("regime").size().to_dict() == {"scratch": 4, "fine_tune": 4}
    assert len(names["finals"]) == 4
    assert isinstance(names["verdicts"], pd.DataFrame)
    assert names["verdicts"]["regime"].tolist() == ["fine_tune"]
    assert (tmp_path / "out/demo/report.html").is_file()
    assert "bundle absent.zip: no such file" in capsys.readouterr().out


def test_importing_the_package_imports_no_library():
    loaded = in_new_process(
        "import json, sys; before = set(sys.modules); import ecgopt; dir(ecgopt)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    assert set(loaded) - sys.stdlib_module_names == {"ecgopt"}


def test_a_bundle_is_opened_and_read_without_torch(tmp_path):
    evidence = invent(World(replicates=2, final_seeds=1), tmp_path)
    write_bundle(evidence, tmp_path, tmp_path / "b.zip", results={})
    found = in_new_process(
        f"import json, sys, ecgopt; bundle = ecgopt.open_bundle({str(tmp_path / 'b.zip')!r})\n"
        "print(json.dumps([len(bundle.trials()), len(bundle.finals()), 'torch' in sys.modules]))"
    )
    n_trials = sum(len(study.trials) for study in evidence.studies)
    assert found == [n_trials, len(evidence.finals), False]


def test_a_comparison_that_has_not_begun_says_so(study_file, tmp_path):
    comparison = ecgopt.open(study_file(), workspace=tmp_path / "ws")
    (tmp_path / "ws").mkdir()
    for read in (comparison.status, comparison.trials, comparison.finals, comparison.verdicts):
        with pytest.raises(UserError, match="no database at"):
            read()


def test_opening_refuses_what_cannot_be_opened(tmp_path):
    with pytest.raises(StudyFileError, match="absent"):
        ecgopt.open(tmp_path / "absent.toml")
    with pytest.raises(UserError, match="no such file or folder"):
        ecgopt.open_bundle(tmp_path / "absent.zip")
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        ecgopt.opne  # noqa: B018
