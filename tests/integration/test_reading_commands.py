"""Commands that only read start without torch and leave nothing behind where no study is."""

import subprocess
import sys

import pytest
from processes import ecgopt
from tiny_study import begin

WITHOUT_TORCH = """
import sys
from ecgopt.cli.app import main
sys.argv = ["ecgopt", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("command", ["status", "trials"])
def test_a_begun_study_is_read_without_torch(command, study_file, tmp_path):
    study, workspace = study_file(), tmp_path / "ws"
    begin(study, workspace)
    program = WITHOUT_TORCH.format(arguments=[command, str(study), "--workspace", str(workspace)])
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
        f"error: no database at {workspace / 'ecgopt.sqlite3'}: run `ecgopt run STUDY` first\n"
    )
    assert not workspace.exists()


def test_a_dashboard_where_no_database_is_creates_nothing(tmp_path):
    done = ecgopt("dashboard", "--port", 0, "--workspace", tmp_path / "ws")
    assert done.returncode == 2
    assert "no database at" in done.stderr
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("command", [["status"], ["answer"], ["run"], ["study", "check"]])
def test_a_missing_study_file_is_answered_before_the_study_code_is_imported(command, tmp_path):
    program = f"""
import sys
from ecgopt.cli.app import main
sys.argv = ["ecgopt", *{command!r}, {str(tmp_path / "nowhere.toml")!r}]
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
    assert "nowhere.toml: no such file" in done.stderr
