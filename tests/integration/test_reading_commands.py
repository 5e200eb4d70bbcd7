"""Commands that only read start without what training needs, and create no database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ecgopt
from tiny_study import begin, tiny_study

WITHOUT = """
import sys
from ecgopt.cli.app import main
sys.argv = ["ecgopt", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
found = {unwanted!r} & set(sys.modules)
assert not found, found
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Return the study file and the workspace of a study that has begun."""
    folder = tmp_path_factory.mktemp("begun")
    study = folder / "study.toml"
    study.write_text(tiny_study())
    begin(study, folder / "ws").database.engine.dispose()
    return study, folder / "ws"


@pytest.mark.parametrize("command", [["status"], ["trials"], ["study", "pause"]])
def test_a_begun_study_is_read_without_torch_and_alembic(command, begun):
    study, workspace = begun
    arguments = [*command, str(study), "--workspace", str(workspace)]
    unwanted = {"torch", "psycopg", "scipy.stats", "matplotlib", "pandas"}
    if command != ["trials"]:
        unwanted.add("alembic")  # Optuna's own storage, which reads trials, imports it
    program = WITHOUT.format(arguments=arguments, unwanted=unwanted)
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_study_file_is_checked_without_torch_once_its_speeds_are_known(
    begun, tmp_path, monkeypatch
):
    study, _ = begun
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ecgopt("study", "check", study).returncode == 0
    program = WITHOUT.format(arguments=["study", "check", str(study)], unwanted={"torch"})
    subprocess.run([sys.executable, "-c", program], check=True)


def test_evidence_and_the_answer_come_without_torch_and_drawing():
    program = """
import sys
import ecgopt.analysis.conclude, ecgopt.comparison.evidence, ecgopt.report.terminal
assert not {"torch", "matplotlib", "scipy.stats"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "command", [["status"], ["trials"], ["answer"], ["report"], ["study", "pause"], ["export"]]
)
def test_reading_where_no_database_is_creates_nothing(command, study_file, tmp_path):
    study, workspace = study_file(), tmp_path / "ws"
    more = [tmp_path / "bundle.zip"] if command == ["export"] else []
    done = ecgopt(*command, study, *more, "--workspace", workspace)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: no database at {workspace / 'ecgopt.sqlite3'}: run `ecgopt run STUDY` first, or "
        "name the folder of an earlier run with --workspace (this command looks from "
        f"{Path.cwd()})\n"
    )
    assert not workspace.exists()


@pytest.mark.parametrize(
    "command", [["dashboard", "--port", 0], ["storage", "check"], ["storage", "backup", "x.backup"]]
)
def test_a_command_on_a_whole_database_creates_none(command, tmp_path):
    done = ecgopt(*command, "--workspace", tmp_path / "ws")
    assert done.returncode == 2
    assert "no database at" in done.stderr
    assert not (tmp_path / "ws").exists()


def refused_early(*arguments):
    """Run a command that is refused before anything heavy is imported; return its error."""
    program = f"""
import sys
from ecgopt.cli.app import main
sys.argv = ["ecgopt", *{[str(each) for each in arguments]!r}]
try:
    main()
except SystemExit as end:
    assert end.code == 2, end.code
assert not {{"pydantic", "sqlalchemy", "numpy"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["answer"], ["run"], ["worker"], ["study", "check"], ["verify"]]
)
def test_a_missing_file_is_answered_before_the_study_code_is_imported(command, tmp_path):
    assert "nowhere.toml: no such file" in refused_early(*command, tmp_path / "nowhere.toml")


@pytest.mark.parametrize("command", [["status"], ["trials"], ["answer"], ["study", "resume"]])
def test_a_missing_database_is_answered_before_the_study_code_is_imported(command, begun, tmp_path):
    study, _ = begun
    error = refused_early(*command, study, "--workspace", tmp_path / "ws")
    assert "no database at" in error


def test_a_pipe_that_is_closed_early_is_no_error(begun):
    study, workspace = begun
    arguments = f"{sys.executable} -m ecgopt status {study} --workspace {workspace}"
    script = f"set -o pipefail; {arguments} | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_an_encoding_lacks_is_written_in_ascii(begun):
    study, workspace = begun
    done = ecgopt("status", study, "--workspace", workspace, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    text = "verdict \u2212 0.1 \u00b1 0.2 \u2192 \u2713"
    program = (
        "from ecgopt.cli.output import print_lines, replace_what_cannot_be_encoded; "
        f"replace_what_cannot_be_encoded(); print_lines({text!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "verdict - 0.1 +/- 0.2 -> ?\n"


@pytest.mark.parametrize("verb", ["status", "trials", "answer", "report", "export"])
def test_no_command_reads_results_under_other_rules_than_they_were_made_by(verb, begun, tmp_path):
    study, workspace = begun
    changed = tmp_path / "study.toml"
    changed.write_text(f"{study.read_text()}\n[verdict]\nmargin = 0.5\n")
    target = [tmp_path / "bundle.zip"] if verb == "export" else []
    done = ecgopt(verb, changed, *target, "--workspace", workspace)
    assert done.returncode == 2
    assert "verdict.margin was 0.01 and is now 0.5" in done.stderr
    assert "Equivalent" not in done.stdout
