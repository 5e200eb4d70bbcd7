"""The regimes by name, and what each must offer."""

import difflib
from collections.abc import Mapping
from typing import Final, Protocol

from ecgopt.errors import StudyFileError
from ecgopt.models.checkpoint import Checkpoint
from ecgopt.models.stages import StagedModel
from ecgopt.regimes.fine_tune import FineTune
from ecgopt.regimes.scratch import Scratch
from ecgopt.training.recipe import Recipe


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

    def initialise(self, model: StagedModel, upstream: Checkpoint | None, *, seed: int) -> float:
        """Give `model` its initial weights in place; return the share that was transferred."""

    def constrain(self, recipe: Recipe) -> Recipe:
        """Return the recipe with what the regime fixes."""


REGIMES: Final[Mapping[str, Regime]] = {
    regime.name: regime
    for regime in (
        Scratch(),
        # The A/A control: the same regime under a second name must never "win" against the first.
        Scratch(name="scratch_twin"),
        FineTune(),
    )
}


def regime(name: str) -> Regime:
    """Return the regime called `name`.

    Raises:
        StudyFileError: there is none; the message names the nearest.
    """
    if name in REGIMES:
        return REGIMES[name]
    nearest = difflib.get_close_matches(name, REGIMES, n=1, cutoff=0.0)[0]
    raise StudyFileError(
        f"a regime must be one of {', '.join(REGIMES)}, but got {name!r}: did you mean {nearest!r}?"
    )
