"""A random encoder under a trained head: what the head alone can do, without any learned feature.

The counterpart of `linear_probe`: the difference between the two is what pre-training taught.
"""

from dataclasses import dataclass, replace

from ecgopt.regimes.scratch import Scratch
from ecgopt.regimes.space import STAGE_PARAMETERS
from ecgopt.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class FrozenRandom(Scratch):
    """The random arm with all stages before the head frozen."""

    name: str = "frozen_random"
    unused_parameters: frozenset[str] = STAGE_PARAMETERS

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:
        """Freeze everything but the head."""
        return replace(recipe, n_frozen_stages=n_freezable_stages)
