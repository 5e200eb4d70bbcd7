"""Scratch with the scale of pre-trained weights: is it features that help, or only good numbers?

Source: the Mean Var initialisation of Raghu et al. 2019 (Transfusion), arXiv:1902.07208.
"""

from dataclasses import dataclass

from ecgopt.models.checkpoint import Checkpoint
from ecgopt.models.moments import match_moments
from ecgopt.models.stages import StagedModel
from ecgopt.regimes.fine_tune import needed
from ecgopt.regimes.scratch import Scratch


@dataclass(frozen=True, slots=True)
class MomentMatched(Scratch):
    """Random weights whose mean and variance are, layer by layer, those of the upstream."""

    name: str = "moment_matched"
    needs_upstream: bool = True

    def initialise(self, model: StagedModel, upstream: Checkpoint | None, *, seed: int) -> float:
        """Redraw the weights by the upstream's moments; no weight itself is transferred.

        Raises:
            CheckpointError: there is no checkpoint, or it does not fit the model.
        """
        match_moments(model, needed(self.name, upstream), seed=seed)
        return 0.0
