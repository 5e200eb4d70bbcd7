"""Fine-tuning: the downstream model starts from pre-trained weights, its head is new."""

from dataclasses import dataclass

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import Checkpoint, transfer
from ecgopt.models.stages import StagedModel
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Recipe
from ecgopt.training.run import RunBuilder


@dataclass(frozen=True, slots=True)
class FineTune:
    """The transfer arm; how many leading stages stay frozen is its own tuned parameter."""

    name: str = "fine_tune"
    needs_upstream: bool = True
    own_parameters: frozenset[str] = frozenset({"frozen_stages", "head_rate_ratio", "layer_decay"})
    needed_parameters: frozenset[str] = frozenset()
    unused_parameters: frozenset[str] = frozenset()
    build_run: RunBuilder = TrainingRun

    def initialise(self, model: StagedModel, upstream: Checkpoint | None, *, seed: int) -> float:  # noqa: ARG002 - the contract's arguments
        """Copy all weights but the head's into `model` and return the share transferred.

        Raises:
            CheckpointError: there is no checkpoint, or it does not fit the model.
        """
        return transfer(model, needed(self.name, upstream))

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:  # noqa: ARG002 - the contract's arguments
        """Return the recipe unchanged."""
        return recipe


def needed(regime_name: str, upstream: Checkpoint | None) -> Checkpoint:
    """Return the checkpoint that the regime starts from.

    Raises:
        CheckpointError: there is none.
    """
    if upstream is None:
        raise CheckpointError(f"{regime_name} needs a pre-trained checkpoint, but got none")
    return upstream
