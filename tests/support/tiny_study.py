"""The smallest comparison that still does everything: seconds on one core."""

from ecgopt.comparison.opening import open_comparison
from ecgopt.database.engine import open_database
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace


def tiny_study(**replacements):
    """Return the text of the study file, with given replacements."""
    text = TINY_STUDY
    for key in replacements:
        assert f"{{{key}}}" in text, key
    for key, value in {**TINY_DEFAULTS, **replacements}.items():
        text = text.replace(f"{{{key}}}", str(value))
    return text


def begin(study, folder, url=None):
    """Begin the comparison of a study file without any worker and return it."""
    workspace = Workspace(folder)
    database = open_database(url or f"sqlite:///{workspace.sqlite_file}")
    return open_comparison(load_spec(study), database, workspace)


TINY_DEFAULTS = {
    "regimes": '["scratch", "fine_tune"]',
    "trials": 4,
    "replicates": 1,
    "final_seeds": 1,
    "lease": 20,
    "epochs_low": 2,
    "epochs_high": 4,
    "published_epochs": 4,
    "downstream_records": 160,
    "own": "[space.fine_tune]\nfrozen_stages = { low = 0, high = 5 }",
    "sampler": "tpe",
    "lag": 4,
    "pruning": "true",
    "checkpoint": 0.0,
    "retry": 0.2,
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
epochs = { low = {epochs_low}, high = {epochs_high} }

{own}

[recipe]
batch_size = 32

[published]
epochs = {published_epochs}

[pretrain]
epochs = 2

[budget]
trials = {trials}
replicates = {replicates}
final_seeds = {final_seeds}

[sampler]
name = "{sampler}"
startup_trials = 3
lag = {lag}

[pruning]
enabled = {pruning}

[workers]
lease_seconds = {lease}
checkpoint_seconds = {checkpoint}
retry_seconds = {retry}
"""
