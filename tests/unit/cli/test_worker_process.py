import subprocess
import sys

START = """
import sys, threading
from pathlib import Path
from ecgopt.cli.worker_process import work
from ecgopt.errors import UserError
try:
    work(Path("missing.toml"), Path("."), stop=threading.Event())
except UserError:
    slow = {"scipy", "sklearn", "statsmodels", "matplotlib", "plotly", "wfdb"}
    print(sorted(slow & {*sys.modules}))
"""


def test_a_worker_starts_without_the_libraries_that_only_reports_and_preparation_need(tmp_path):
    """Each takes about a second, which every worker would pay for before its first item."""
    done = subprocess.run(
        [sys.executable, "-c", START], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"
