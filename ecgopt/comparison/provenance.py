"""What a study was begun with: versions, commit and machine."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import optuna

import ecgopt

COMMIT_VARIABLE = "ECGOPT_COMMIT"
"""The commit that a container image was built from, which has no git to ask."""


def provenance() -> dict[str, str]:
    """Return the versions that decide a study's numbers, and where it was begun."""
    return {
        "ecgopt": ecgopt.__version__,
        "commit": os.environ.get(COMMIT_VARIABLE) or _checked_out_commit() or "unknown",
        "optuna": optuna.__version__,
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": platform.node(),
    }


def _checked_out_commit() -> str:
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(ecgopt.__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return asked.stdout.strip()
