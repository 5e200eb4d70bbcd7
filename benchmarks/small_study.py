"""The small study on real records that whole runs are measured by, and its plain training.

Pre-training on two fifths of the patients of the real PTB-XL records, then an arm from scratch and
one fine-tuned with 0 to 5 frozen stages on the others; learning rates and pre-training are those of
studies/size_ladder.toml.
"""

import json
from pathlib import Path
from string import Template

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.plain_script import PlainResNet, preloaded, scores, train_epochs
from benchmarks.real_records import LABELS, SOURCE, folders, millivolts
from ecgopt.data.splits import EcgDataset, TuningData, dataset
from ecgopt.jobs.datasets import PreparedData
from ecgopt.training.recipe import Recipe

WIDTH = 16
FINAL_SEEDS = 3

# Random proposals, so that neither pruning nor the order of trials changes what is drawn.
STUDY = Template("""\
name = "small"
question = "How many trials per hour?"
seed = $seed
upstreams = ["upstream"]
downstreams = ["downstream"]
train_sizes = [800]
validation_share = 0.25

[data.upstream]
source = "$source"
labels = "$labels"
unlabelled = "drop"
broken = "drop"
folders = $folders
patients = [0.0, 0.4]

[data.downstream]
source = "$source"
labels = "$labels"
unlabelled = "drop"
broken = "drop"
folders = $folders
patients = [0.4, 1.0]
test_share = 0.25

[[models]]
name = "resnet1d18"
width = $width

[space.shared]
learning_rate = { low = 1e-4, high = 1e-1, log = true }
epochs = { low = 5, high = 20 }

[space.fine_tune]
frozen_stages = { low = 0, high = 5 }

[recipe]
precision = "bf16"

[published]
epochs = 20
final_fits = false

[pretrain]
epochs = 25
learning_rate = 3e-3
precision = "bf16"

[budget]
trials = $trials
final_seeds = $final_seeds

[sampler]
name = "random"

[pruning]
enabled = $prunes
""")


def written_study(folder: Path, *, seed: int, n_trials: int, prunes: bool) -> Path:
    """Return the study file of a round, written into `folder`."""
    file = folder / "small.toml"
    content = STUDY.substitute(
        seed=seed,
        width=WIDTH,
        trials=n_trials,
        final_seeds=FINAL_SEEDS,
        prunes=json.dumps(prunes),
        source=SOURCE,
        labels=LABELS,
        folders=json.dumps([str(path) for path in folders()]),
    )
    file.write_text(content)
    return file


def sealed_records(data: PreparedData, name: str) -> EcgDataset:
    """Return the test records: those that nothing may be trained or chosen on."""
    rows = np.setdiff1d(data.rows(name), data.pool(name))
    return dataset(data.prepared(name), rows, data.labels(name))


def train_plainly(model: PlainResNet, data: TuningData, recipe: Recipe) -> float:
    """Train, score after every epoch as plain scripts do, and return the last score."""
    records = preloaded(millivolts(data.train), data.train.labels, torch.float32)
    held_out = torch.tensor(millivolts(data.validation), dtype=torch.float32)
    epochs = train_epochs(
        model,
        records,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        n_frozen_stages=recipe.n_frozen_stages,
    )
    score = 0.0
    for _ in range(recipe.n_epochs):
        next(epochs)
        score = float(roc_auc_score(data.validation.labels, scores(model, held_out)))
    return score


def plain_test_score(model: PlainResNet, sealed: EcgDataset) -> float:
    """Return the macro AUROC of the test records."""
    held_out = torch.tensor(millivolts(sealed), dtype=torch.float32)
    return float(roc_auc_score(sealed.labels, scores(model, held_out)))
