"""The seconds of one training sample on this machine, measured on a few batches."""

import json
import os
import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ecgopt.data.inputs import InputForm
from ecgopt.files import write_whole
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import ModelTable
from ecgopt.training.recipe import Recipe

if TYPE_CHECKING:
    # Torch takes seconds to import: only where something is measured.
    import torch

    from ecgopt.data.splits import EcgDataset

N_BATCHES, N_EPOCHS = 3, 3
BRIEF_BATCH = 32
N_LABELS = 5


def measure_seconds_per_sample(
    model: ModelTable,
    recipe: Recipe,
    device: "str | torch.device",
    *,
    form: InputForm | None = None,
    n_batches: int = N_BATCHES,
    n_epochs: int = N_EPOCHS,
) -> float:
    """Return the training seconds per sample, validation included, nothing frozen.

    The first epoch warms up; the fastest of the others counts. On a CPU one thread is used, as
    workers do. Signals are noise: the time does not depend on what they show.
    """
    import torch

    from ecgopt.data.splits import TuningData
    from ecgopt.models.registry import build_model
    from ecgopt.training.fit import TrainingRun

    n_train = n_batches * recipe.batch_size
    form = form or InputForm()
    data = TuningData(
        train=_noise("train", n_train, form), validation=_noise("val", n_train // 3, form)
    )
    fixed = replace(recipe, n_epochs=n_epochs)
    network = build_model(
        model.spec(),
        n_labels=N_LABELS,
        n_leads=len(form.leads),
        n_samples=form.n_samples,
        seed=0,
    )
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = TrainingRun(network, data, fixed, seed=0, device=torch.device(device))
        _, *timed = run.epochs()
    finally:
        torch.set_num_threads(n_threads)
    return min(result.seconds for result in timed) / n_train


def known_seconds_per_sample(spec: StudySpec, device: str, file: Path) -> dict[str, float]:
    """Return the seconds per sample of each model of `spec` on this machine, by its label.

    What was measured here before, with the same software and settings, is read from `file`;
    the rest is measured now, on batches of at most 32, and added to it. A torch without CUDA
    measures on the CPU.
    """
    machine = f"{platform.node()} {device} torch {metadata.version('torch')}"
    known: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    n_known, recipe = len(known), spec.recipe.recipe()
    brief = replace(recipe, batch_size=min(recipe.batch_size, BRIEF_BATCH))
    found = {}
    for model in spec.models:
        form = spec.input_form(model)
        seen = f" {form.key}" if form is not None else ""
        key = f"{machine} {model.label} {recipe.precision}{seen}"
        if key not in known:
            if device == "cuda" and not _has_cuda():
                return known_seconds_per_sample(spec, "cpu", file)
            known[key] = measure_seconds_per_sample(
                model, brief, device, form=form, n_batches=1, n_epochs=2
            )
        found[model.label] = known[key]
    if len(known) > n_known:
        write_whole(file, json.dumps(known, indent=1).encode())
    return found


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def speed_file() -> Path:
    """Return where measured speeds are kept for this user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ecgopt" / "training_speed.json"


def _noise(name: str, n_records: int, form: InputForm) -> "EcgDataset":
    import numpy as np

    from ecgopt.data.splits import EcgDataset
    from ecgopt.seeds import generator_for

    generator = generator_for("training speed", name)
    labels = (generator.random((n_records, N_LABELS)) < 0.3).astype(np.float32)
    labels[0], labels[1] = 1.0, 0.0
    ids = tuple(f"{name}{index}" for index in range(n_records))
    return EcgDataset(
        signals=generator.integers(
            -500, 500, size=(n_records, len(form.leads), form.n_samples), dtype=np.int16
        ),
        rows=np.arange(n_records),
        labels=labels,
        classes=tuple(f"label{index}" for index in range(N_LABELS)),
        records=ids,
        patients=ids,
    )
