"""A pre-trained encoder under a trained head: how far upstream features alone go."""

from dataclasses import dataclass, replace

from ecgopt.regimes.fine_tune import FineTune
from ecgopt.regimes.space import STAGE_PARAMETERS
from ecgopt.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class LinearProbe(FineTune):
    """The transfer arm with all stages before the head frozen."""

    name: str = "linear_probe"
    own_parameters: frozenset[str] = frozenset()
    unused_parameters: frozenset[str] = STAGE_PARAMETERS

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:
        """Freeze everything but the head."""
        return replace(recipe, n_frozen_stages=n_freezable_stages)
