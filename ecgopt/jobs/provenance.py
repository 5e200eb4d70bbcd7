"""Versions, commit and machine: what a study was begun with, and what each trial ran on."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

COMMIT_VARIABLE = "ECGOPT_COMMIT"
"""The commit that a container image was built from, which has no git to ask."""


def provenance() -> dict[str, str]:
    """Return the versions that decide a study's numbers, and where it was begun."""
    return {
        "ecgopt": _installed_version(),
        "commit": os.environ.get(COMMIT_VARIABLE) or _checked_out_commit() or "unknown",
        "optuna": metadata.version("optuna"),
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": platform.node(),
    }


@cache
def software() -> str:
    """Return the versions that decide a trial's numbers, in one line."""
    found = provenance()
    names = ("ecgopt", "commit", "torch", "optuna")
    return ", ".join(f"{name} {found[name]}" for name in names)


def _installed_version() -> str:
    try:
        return metadata.version("ecgopt")
    except metadata.PackageNotFoundError:
        # A checkout on PYTHONPATH: its commit says more.
        return "not installed"


def _checked_out_commit() -> str:
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return asked.stdout.strip()
