"""Fixtures shared by all tests: the real data, and small comparisons."""

import os
from pathlib import Path

import pytest

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
        text = TINY_STUDY
        for old, new in replacements.items():
            key = old.replace("__", ".")
            assert f"{{{key}}}" in text, key
            text = text.replace(f"{{{key}}}", str(new))
        for key, default in TINY_DEFAULTS.items():
            text = text.replace(f"{{{key}}}", str(default))
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


TINY_DEFAULTS = {
    "regimes": '["scratch", "fine_tune"]',
    "trials": 4,
    "final_seeds": 1,
    "lease": 20,
    "epochs_high": 4,
    "published_epochs": 4,
    "downstream_records": 160,
    "own": "[space.fine_tune]\nfrozen_stages = { low = 0, high = 5 }",
    "sampler": "tpe",
    "pruning": "true",
}

TINY_STUDY = """
name = "tiny"
seed = 3
regimes = {regimes}
upstreams = ["up"]
downstreams = ["down"]
train_sizes = [60]

[data.up]
source = "synthetic"
labels = "synthetic"
synthetic = { records = 120, seed = 1, population = "A" }

[data.down]
source = "synthetic"
labels = "synthetic"
synthetic = { records = {downstream_records}, seed = 2, population = "B" }
test_share = 0.4

[[models]]
name = "resnet1d18"
width = 2

[space.shared]
learning_rate = { low = 1e-3, high = 3e-2, log = true }
epochs = { low = 2, high = {epochs_high} }

{own}

[recipe]
batch_size = 32

[published]
epochs = {published_epochs}

[pretrain]
epochs = 2

[budget]
trials = {trials}
final_seeds = {final_seeds}

[sampler]
name = "{sampler}"
startup_trials = 3

[pruning]
enabled = {pruning}

[workers]
lease_seconds = {lease}
checkpoint_seconds = 0.0
"""
