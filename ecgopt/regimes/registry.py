"""The regimes by name, and what each must offer."""

import difflib
from collections.abc import Mapping
from typing import Final, Protocol

from ecgopt.errors import StudyFileError
from ecgopt.models.checkpoint import Checkpoint
from ecgopt.models.stages import StagedModel
from ecgopt.regimes.fine_tune import FineTune
from ecgopt.regimes.frozen_random import FrozenRandom
from ecgopt.regimes.layer_decay import LayerDecay
from ecgopt.regimes.linear_probe import LinearProbe
from ecgopt.regimes.lp_ft import LpFt
from ecgopt.regimes.moment_matched import MomentMatched
from ecgopt.regimes.scratch import Scratch
from ecgopt.regimes.svm_probe import SvmProbe
from ecgopt.training.recipe import Recipe
from ecgopt.training.run import RunBuilder


class Regime(Protocol):
    """How a downstream model starts, and which parameters only it may tune."""

    @property
    def name(self) -> str:
        """The name that study files use."""

    @property
    def needs_upstream(self) -> bool:
        """Whether the regime starts from a pre-trained checkpoint."""

    @property
    def own_parameters(self) -> frozenset[str]:
        """Parameters that have a meaning in this regime and not in `scratch`."""

    @property
    def needed_parameters(self) -> frozenset[str]:
        """Own parameters without whose range the regime is not what its name says."""

    @property
    def unused_parameters(self) -> frozenset[str]:
        """Shared parameters without a meaning in this regime: its studies do not search them."""

    @property
    def build_run(self) -> RunBuilder:
        """What makes a training run of an initialised model."""

    def initialise(self, model: StagedModel, upstream: Checkpoint | None, *, seed: int) -> float:
        """Give `model` its initial weights in place; return the share that was transferred."""

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:
        """Return the recipe with what the regime fixes; the published recipe too is constrained."""


REGIMES: Final[Mapping[str, Regime]] = {
    regime.name: regime
    for regime in (
        Scratch(),
        # The A/A control: the same regime under a second name must never "win" against the first.
        Scratch(name="scratch_twin"),
        FineTune(),
        LayerDecay(),
        LpFt(),
        LinearProbe(),
        SvmProbe(),
        FrozenRandom(),
        MomentMatched(),
    )
}


def regime(name: str) -> Regime:
    """Return the regime called `name`.

    Raises:
        StudyFileError: there is none; the message names the nearest.
    """
    if name in REGIMES:
        return REGIMES[name]
    if name == "published":
        raise StudyFileError(
            "'published' is a recipe and not a regime: every regime runs it as its trial 0, and "
            "[published] says how; leave it out of `regimes`"
        )
    nearest = difflib.get_close_matches(name, REGIMES, n=1, cutoff=0.0)[0]
    raise StudyFileError(
        f"a regime must be one of {', '.join(REGIMES)}, but got {name!r}: did you mean {nearest!r}?"
    )
