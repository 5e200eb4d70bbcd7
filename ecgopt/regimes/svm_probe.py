"""A support vector machine on pre-trained features: the probe that needs no gradient descent."""

from dataclasses import dataclass, replace

from ecgopt.regimes.fine_tune import FineTune
from ecgopt.regimes.space import PARAMETERS
from ecgopt.training.recipe import Recipe
from ecgopt.training.run import RunBuilder
from ecgopt.training.svm import SvmRun


@dataclass(frozen=True, slots=True)
class SvmProbe(FineTune):
    """The transfer arm whose head is a linear SVM; only its C is tuned.

    A trial is one fit, reported as one epoch at the last step of the ladder, so it is never pruned.
    """

    name: str = "svm_probe"
    own_parameters: frozenset[str] = frozenset({"svm_c"})
    needed_parameters: frozenset[str] = frozenset({"svm_c"})
    unused_parameters: frozenset[str] = frozenset(PARAMETERS) - {"svm_c"}
    build_run: RunBuilder = SvmRun

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:
        """Leave one epoch, on the features of all stages before the head."""
        return replace(recipe, n_epochs=1, n_frozen_stages=n_freezable_stages)
