"""Where scores of ecgopt and of the plain script differ: in pre-training or in fine-tuning.

Both sides pre-train on the upstream of the small study, and each fine-tunes both networks, with
recipes drawn from where winners lie, on the same records. A round has its own patients, recipes and
first weights. Scores are macro AUROC on patients that nothing was chosen by; no time is measured.

    ECGOPT_DATA=... python -m benchmarks.crossed [--rounds 10] [--seed 1] [--pretrain-epochs 25]
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from benchmarks.equivalence import mean_difference
from benchmarks.plain_script import PlainResNet
from benchmarks.small_study import (
    WIDTH,
    plain_test_score,
    sealed_records,
    train_plainly,
    written_study,
)
from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.jobs.datasets import PreparedData, prepare_data
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec
from ecgopt.training.fit import TrainingRun
from ecgopt.training.pretrain import Pretraining
from ecgopt.training.recipe import Recipe
from ecgopt.workspace import Workspace

Side = Literal["ecgopt", "plain"]
Weights = Sequence[Tensor]
"""Of all layers, in the order of the network; both sides' networks have the same."""

SPEC = ModelSpec(name="resnet1d18", width=WIDTH)
CPU = torch.device("cpu")
N_RECIPES = 2
HEADS = ("head.", "fc.")


def drawn_recipes(base: Recipe, seed: int) -> Iterator[Recipe]:
    """Yield the recipes of a round."""
    draw = np.random.default_rng(seed)
    for _ in range(N_RECIPES):
        yield replace(
            base,
            learning_rate=math.exp(draw.uniform(math.log(5e-4), math.log(3e-2))),
            n_epochs=int(draw.integers(8, 21)),
            n_frozen_stages=int(draw.integers(0, 6)),
        )


def pretrained(data: TuningData, recipe: Recipe, seed: int) -> dict[Side, tuple[float, Weights]]:
    """Return each side's upstream validation score and network."""
    n_labels = len(data.train.classes)
    model = build_model(SPEC, n_labels=n_labels, seed=seed)
    pretraining = Pretraining(TrainingRun(model, data, recipe, seed=seed, device=CPU))
    for _ in pretraining.epochs():
        pass
    ours = pretraining.finish()
    score = ours.metadata["best_score"]
    assert isinstance(score, float)
    plain = PlainResNet(n_labels, WIDTH)
    last_score = train_plainly(plain, data, recipe)
    return {
        "ecgopt": (score, list(ours.tensors.values())),
        "plain": (last_score, list(plain.state_dict().values())),
    }


def carry_over(model: nn.Module, weights: Weights) -> None:
    """Set all layers of `model` but the head."""
    own = model.state_dict()
    for (name, tensor), other in zip(own.items(), weights, strict=True):
        if not name.startswith(HEADS):
            own[name] = other.reshape(tensor.shape).clone()
    model.load_state_dict(own)


def fine_tuned(
    side: Side, weights: Weights, data: TuningData, sealed: EcgDataset, recipe: Recipe, seed: int
) -> float:
    """Return the test score of one side's fine-tuning."""
    n_labels = len(data.train.classes)
    if side == "plain":
        plain = PlainResNet(n_labels, WIDTH)
        carry_over(plain, weights)
        train_plainly(plain, data, recipe)
        return plain_test_score(plain, sealed)
    model = build_model(SPEC, n_labels=n_labels, seed=seed)
    carry_over(model, weights)
    run = TrainingRun(model, data, recipe, seed=seed, device=CPU, evaluate_after=())
    for _ in run.epochs():
        pass
    return float(roc_auc_score(sealed.labels, run.predict(sealed)))


def round_scores(folder: Path, seed: int, n_epochs: int) -> dict[tuple[Side, Side], float]:
    """Return mean test scores by who pre-trained and who fine-tuned; print them too."""
    workspace = Workspace(folder)
    spec = load_spec(written_study(folder, seed=seed, n_trials=20, prunes=True))
    folders = prepare_data(spec, workspace, n_processes=1)
    data = PreparedData(spec=spec, workspace=workspace, folders=folders)
    key = next(key for key in expand_studies(spec) if key.upstream)
    (downstream,), _ = data.downstream(key)
    sealed = sealed_records(data, key.downstream)
    torch.manual_seed(seed)
    recipe = replace(spec.pretrain.recipe(), n_epochs=n_epochs)
    upstreams = pretrained(data.upstream("upstream"), recipe, seed)
    scores: dict[tuple[Side, Side], list[float]] = {}
    for number, drawn in enumerate(drawn_recipes(spec.recipe.recipe(), seed)):
        for before, (_, weights) in upstreams.items():
            for after in get_args(Side):
                score = fine_tuned(
                    after, weights, downstream, sealed, drawn, seed * N_RECIPES + number
                )
                scores.setdefault((before, after), []).append(score)
    means = {sides: statistics.mean(values) for sides, values in scores.items()}
    upstream = ", ".join(f"{side} {score:.4f}" for side, (score, _) in upstreams.items())
    print(f"seed {seed:3d}  upstream: {upstream}", end="  test: ")
    print(", ".join(f"{a} > {b} {mean:.4f}" for (a, b), mean in means.items()), flush=True)
    return means


def main() -> None:
    """Print each round, then what each part of the work adds to the plain script's score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--pretrain-epochs", type=int, default=25)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = [
            round_scores(Path(folder), seed, arguments.pretrain_epochs)
            for seed in range(arguments.seed, arguments.seed + arguments.rounds)
        ]
    by_pretraining, by_fine_tuning, by_both = [], [], []
    for scores in found:
        ours, plain = scores["ecgopt", "ecgopt"], scores["plain", "plain"]
        mixed = scores["ecgopt", "plain"], scores["plain", "ecgopt"]
        by_pretraining.append((ours - mixed[1] + mixed[0] - plain) / 2)
        by_fine_tuning.append((ours - mixed[0] + mixed[1] - plain) / 2)
        by_both.append(ours - plain)
    print(f"ecgopt - plain, by pre-training: {mean_difference(by_pretraining)}")
    print(f"ecgopt - plain, by fine-tuning:  {mean_difference(by_fine_tuning)}")
    print(f"ecgopt - plain, by both:         {mean_difference(by_both)}")


if __name__ == "__main__":
    main()
