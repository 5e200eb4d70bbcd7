"""Training from scratch: the downstream model keeps its random initial weights."""

from dataclasses import dataclass

from ecgopt.models.checkpoint import Checkpoint
from ecgopt.models.stages import StagedModel
from ecgopt.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Scratch:
    """The reference arm: no upstream, nothing frozen."""

    name: str = "scratch"
    needs_upstream: bool = False
    own_parameters: frozenset[str] = frozenset()

    def initialise(self, model: StagedModel, upstream: Checkpoint | None, *, seed: int) -> float:  # noqa: ARG002 - the contract's arguments
        """Leave the random weights and return 0, the share of weights transferred."""
        return 0.0

    def constrain(self, recipe: Recipe) -> Recipe:
        """Return the recipe unchanged."""
        return recipe
