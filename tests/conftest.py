"""Fixtures shared by all tests: the real data, and small comparisons."""

import os
from pathlib import Path

import pytest
from tiny_study import tiny_study

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_storage_of_the_user(monkeypatch):
    for name in ("ECGOPT_STORAGE", "ECGOPT_STORAGE_FILE", "ECGOPT_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def study_file(tmp_path):
    """Write a small synthetic study, with given replacements of its text, and return its path."""

    def write(name="study.toml", **replacements):
        path = tmp_path / name
        path.write_text(tiny_study(**replacements))
        return path

    return write
