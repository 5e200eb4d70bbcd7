"""Linear probing, then fine-tuning: the head is trained before everything joins in.

A random head sends arbitrary gradients through pre-trained stages; trained first, it does not. Both
phases are epochs of one run, so the head's are paid from the arm's own budget.

Source: Kumar et al. 2022, arXiv:2202.10054.
"""

from dataclasses import dataclass, replace

from ecgopt.regimes.fine_tune import FineTune
from ecgopt.regimes.space import DEFAULT_HEAD_FIRST_SHARE
from ecgopt.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class LpFt(FineTune):
    """The transfer arm in two phases; how long the first one is may be tuned."""

    name: str = "lp_ft"
    own_parameters: frozenset[str] = frozenset(
        {"head_first_share", "frozen_stages", "head_rate_ratio", "layer_decay"}
    )

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:  # noqa: ARG002 - the contract's arguments
        """Give the head half of the epochs, unless its share is tuned."""
        if recipe.head_first_share:
            return recipe
        return replace(recipe, head_first_share=DEFAULT_HEAD_FIRST_SHARE)
