"""Training from scratch: the downstream model keeps its random initial weights."""

from dataclasses import dataclass

from ecgopt.models.checkpoint import Checkpoint
from ecgopt.models.stages import StagedModel
from ecgopt.training.fit import TrainingRun
from ecgopt.training.recipe import Recipe
from ecgopt.training.run import RunBuilder


@dataclass(frozen=True, slots=True)
class Scratch:
    """The reference arm: no upstream, nothing frozen."""

    name: str = "scratch"
    needs_upstream: bool = False
    own_parameters: frozenset[str] = frozenset()
    needed_parameters: frozenset[str] = frozenset()
    unused_parameters: frozenset[str] = frozenset()
    build_run: RunBuilder = TrainingRun

    def initialise(self, model: StagedModel, upstream: Checkpoint | None, *, seed: int) -> float:  # noqa: ARG002 - the contract's arguments
        """Leave the random weights and return 0, the share of weights transferred."""
        return 0.0

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:  # noqa: ARG002 - the contract's arguments
        """Return the recipe unchanged."""
        return recipe
