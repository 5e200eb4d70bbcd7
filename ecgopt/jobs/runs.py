"""One arm's training run: its data, its initial weights and its recipe put together."""

import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import torch

from ecgopt.data.folds import Folds, all_labelled
from ecgopt.data.splits import TuningData
from ecgopt.errors import UserError
from ecgopt.jobs.datasets import PreparedData
from ecgopt.jobs.resumption import Resumable, ResumableEpochs, discard_checkpoints
from ecgopt.models.checkpoint import Checkpoint, load_checkpoint
from ecgopt.models.registry import build_model
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.cross_validation import CrossValidationRun
from ecgopt.training.prefix_cache import PrefixCache
from ecgopt.training.recipe import Recipe
from ecgopt.training.run import Run
from ecgopt.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ArmRuns:
    """Builds training runs; keeps split data and checkpoints between the trials of a worker."""

    spec: StudySpec
    workspace: Workspace
    data: PreparedData
    device: torch.device
    folder: str
    """Of the comparison's files in the workspace."""
    pretrained_sha256: Callable[[str], str] = lambda _: ""
    """Returns the SHA-256 that a pre-trained checkpoint had when it was made; empty: not known."""
    _splits: dict[StudyKey, tuple[Folds, dict[str, object]]] = field(default_factory=dict)
    _upstreams: dict[str, Checkpoint] = field(default_factory=dict)

    def split(self, key: StudyKey) -> tuple[Folds, dict[str, object]]:
        """Return the study's training and validation records and their provenance."""
        shared = replace(key, regime="", upstream=None)
        if shared not in self._splits:
            self._splits[shared] = self.data.downstream(key)
        return self._splits[shared]

    def upstream(self, name: str) -> Checkpoint:
        """Return the pre-trained checkpoint called `name`, checked against its SHA-256.

        Raises:
            CheckpointError: it is missing, damaged, or not the one that was trained.
        """
        if name not in self._upstreams:
            path = self.workspace.pretrained(self.folder, name)
            self._upstreams[name] = load_checkpoint(
                path, sha256=self.pretrained_sha256(name) or None
            )
        return self._upstreams[name]

    def epochs(
        self, run: Resumable, item: str, *, measure: Callable[[], float] | None = None
    ) -> ResumableEpochs:
        """Return the epochs of a work item, from where a former owner left them.

        Args:
            run: Freshly built.
            item: Key of the work item.
            measure: Called after each epoch; its values are kept with the checkpoints.
        """
        return ResumableEpochs(
            run,
            self.workspace.run_state(self.folder, item),
            checkpoint_seconds=self.spec.workers.checkpoint_seconds,
            measure=measure,
        )

    def discard_checkpoints(self, item: str) -> None:
        """Remove the checkpoints of a work item that has ended."""
        discard_checkpoints(self.workspace.run_state(self.folder, item))

    def build(
        self,
        key: StudyKey,
        recipe: Recipe,
        *,
        seed: int,
        evaluate_after: Collection[int] | None,
        folds: Folds | None = None,
        is_final: bool = False,
    ) -> tuple[Run, float]:
        """Return a fresh run and the share of its weights that were transferred.

        All regimes get the same seed, hence the same order of records and, in the layers that
        are not transferred, the same random weights.

        Args:
            key: Of the study.
            recipe: How to train.
            seed: Of the run; under cross-validation each fold's network derives its own.
            evaluate_after: Epochs after which validation is scored; None is after every epoch.
            folds: Replace the study's own records.
            is_final: Whether the run is to be tested. It then holds one more network, trained on
                all labelled records, and that is the tested one.
        """
        if folds is None:
            folds, _ = self.split(key)
        if len(folds) == 1 and not is_final:
            return self._build_one(key, recipe, folds[0], seed=seed, evaluate_after=evaluate_after)
        members = [
            self._build_one(
                key,
                recipe,
                fold,
                seed=seed_for(seed, "fold", number) if len(folds) > 1 else seed,
                evaluate_after=evaluate_after,
            )
            for number, fold in enumerate(folds)
        ]
        refit = None
        if is_final:
            everything = all_labelled(folds)
            refit, _ = self._build_one(key, recipe, everything, seed=seed, evaluate_after=())
        run = CrossValidationRun([member for member, _ in members], folds, refit=refit)
        return run, members[0][1]

    def _build_one(
        self,
        key: StudyKey,
        recipe: Recipe,
        data: TuningData,
        *,
        seed: int,
        evaluate_after: Collection[int] | None,
    ) -> tuple[Run, float]:
        _, n_leads, n_samples = data.train.signals.shape
        model = build_model(
            key.model.spec(dropout=recipe.dropout),
            n_labels=len(data.train.classes),
            n_leads=n_leads,
            n_samples=n_samples,
            seed=seed_for(seed, "weights"),
        )
        checkpoint = self.upstream(key.pretraining) if key.pretraining else None
        arm = self.spec.start(key.regime)
        share = arm.initialise(model, checkpoint, seed=seed_for(seed, "regime"))
        run = arm.build_run(
            model,
            data,
            recipe,
            seed=seed_for(seed, "training"),
            device=self.device,
            evaluate_after=evaluate_after,
            prefix_cache=PrefixCache(self.workspace.prefix_cache),
            is_captured=self.spec.workers.cuda_graphs,
        )
        return run, share


def choose_device(name: str | None = None) -> torch.device:
    """Return the device called `name`; without a name the CUDA device that is visible, or the CPU.

    Raises:
        UserError: a CUDA device is named, and torch cannot use one here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        remedy = (
            f"install a driver that suits CUDA {built}"
            if built
            else "install a build of torch with CUDA"
        )
        raise UserError(
            f"a GPU must be visible to torch on {socket.gethostname()}, but torch "
            f"{torch.__version__} sees none: {remedy}, or use --gpus-per-worker 0"
        )
    return device


def device_facts(device: torch.device) -> str:
    """Return what decides a trial's numbers and speed on a device, for its record."""
    if device.type != "cuda":
        return str(device)
    return (
        f"{device}: {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"
    )
