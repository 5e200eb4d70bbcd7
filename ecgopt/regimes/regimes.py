"""The regimes: the first weights of a downstream model, and the settings that each start fixes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from ecgopt.errors import CheckpointError, StudyFileError
from ecgopt.plugins import find, wrong_type
from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.training.recipe import Recipe, Scope

if TYPE_CHECKING:
    from ecgopt.models.checkpoint import Checkpoint
    from ecgopt.models.stages import StagedModel
    from ecgopt.training.run import RunBuilder

Start = Callable[["StagedModel", "Checkpoint", int], float]
"""Gives a model its first weights from a checkpoint and a seed; returns the share transferred."""

Fix = Callable[[Recipe, int], Recipe]
"""Returns a recipe with what a regime fixes, for a network with so many freezable stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The start of a downstream model, and the parameters that only this start can tune."""

    name: str
    """The name that study files use."""
    start: Start | None = None
    """None keeps the random weights, and the regime then needs no upstream."""
    own: frozenset[Scope] = frozenset()
    """Scopes of the parameters in `[space.NAME]`; they are searched within the arm's own trials."""
    unused: frozenset[Scope] = frozenset()
    """Scopes that this start does not use: their shared parameters are not searched."""
    needed_parameters: frozenset[str] = frozenset()
    """Own parameters whose range must be given: without it the name would be wrong."""
    fix: Fix | None = None
    """Applies to every recipe, the published one included."""
    trains: Literal["network", "svm"] = "network"
    """The part that a training run fits."""

    @property
    def build_run(self) -> "RunBuilder":
        """What makes a training run of an initialised model."""
        if self.trains == "svm":
            from ecgopt.training.svm import SvmRun

            return SvmRun
        from ecgopt.training.fit import TrainingRun

        return TrainingRun

    @property
    def needs_upstream(self) -> bool:
        """Whether the regime starts from a pre-trained checkpoint."""
        return self.start is not None

    @property
    def own_parameters(self) -> frozenset[str]:
        """Parameters that have a meaning in this regime and not in `scratch`."""
        return _parameters_of(self.own)

    @property
    def unused_parameters(self) -> frozenset[str]:
        """Shared parameters without a meaning in this regime."""
        return _parameters_of(self.unused)

    def initialise(
        self, model: "StagedModel", upstream: "Checkpoint | None", *, seed: int
    ) -> float:
        """Give `model` its initial weights in place; return the share that was transferred.

        Args:
            model: A fresh network.
            upstream: The pre-trained checkpoint; None for a start without one.
            seed: The source of random weights.

        Raises:
            CheckpointError: there is no checkpoint, or it does not fit the model.
        """
        if self.start is None:
            return 0.0
        if upstream is None:
            raise CheckpointError(
                f"{self.name} needs a pre-trained checkpoint, but there is none: name an upstream"
            )
        return self.start(model, upstream, seed)

    def constrain(self, recipe: Recipe, *, n_freezable_stages: int) -> Recipe:
        """Return the recipe with what the regime fixes."""
        return recipe if self.fix is None else self.fix(recipe, n_freezable_stages)


def copy_weights(model: "StagedModel", upstream: "Checkpoint", seed: int) -> float:  # noqa: ARG001 - the contract's arguments
    """Copy all weights but the head's into `model` and return the share transferred.

    Args:
        model: A fresh network, changed in place.
        upstream: The pre-trained checkpoint.
        seed: Not used.
    """
    from ecgopt.models.checkpoint import transfer

    return transfer(model, upstream)


def copy_moments(model: "StagedModel", upstream: "Checkpoint", seed: int) -> float:
    """Redraw the weights by the upstream's moments and return 0: no weight is transferred.

    Args:
        model: A fresh network, changed in place.
        upstream: The pre-trained checkpoint.
        seed: The source of the draws.
    """
    from ecgopt.models.checkpoint import match_moments

    match_moments(model, upstream, seed=seed)
    return 0.0


def freeze_all_but_head(recipe: Recipe, n_freezable_stages: int) -> Recipe:
    """Return the recipe with all stages before the head frozen."""
    return replace(recipe, n_frozen_stages=n_freezable_stages)


def train_head_first(recipe: Recipe, n_freezable_stages: int) -> Recipe:  # noqa: ARG001 - the contract's arguments
    """Return the recipe with half of the epochs for the head alone, unless its share is tuned."""
    share = recipe.head_first_share or PARAMETERS["head_first_share"].published
    assert isinstance(share, float)
    return replace(recipe, head_first_share=share)


def fit_once(recipe: Recipe, n_freezable_stages: int) -> Recipe:
    """Return the recipe with one epoch, on the features of all stages before the head."""
    return replace(recipe, n_epochs=1, n_frozen_stages=n_freezable_stages)


def _parameters_of(scopes: frozenset[Scope]) -> frozenset[str]:
    return frozenset(name for name, declared in PARAMETERS.items() if declared.scope in scopes)


_STAGES: Final = frozenset[Scope]({"stages"})
_OF_STAGES: Final = frozenset[Scope]({"stages", "head_first"})

REGIMES: Final[Mapping[str, Regime]] = {
    regime.name: regime
    for regime in (
        # The reference: random initial weights, nothing frozen.
        Regime(name="scratch"),
        # The A/A control: the same regime under a second name must never "win" against the first.
        Regime(name="scratch_twin"),
        # Pre-trained weights under a new head; how many leading stages stay frozen is tuned.
        Regime(name="fine_tune", start=copy_weights, own=_STAGES),
        # Fine-tuning with smaller learning rates towards the input, the smooth relative of
        # freezing: early stages move little instead of not at all. The factor is always searched.
        Regime(
            name="layer_decay",
            start=copy_weights,
            own=_STAGES,
            needed_parameters=frozenset({"layer_decay"}),
        ),
        # Linear probing, then fine-tuning: a random head sends arbitrary gradients through
        # pre-trained stages; trained first, it does not. Both phases are epochs of one run, so the
        # head's are paid from the arm's own budget. Source: Kumar et al. 2022, arXiv:2202.10054.
        Regime(name="lp_ft", start=copy_weights, own=_OF_STAGES, fix=train_head_first),
        # A pre-trained encoder under a trained head: how good upstream features alone are.
        Regime(name="linear_probe", start=copy_weights, unused=_OF_STAGES, fix=freeze_all_but_head),
        # A linear SVM on pre-trained features; only its C is tuned. A trial is one fit, reported as
        # one epoch at the last rung, so it is never pruned.
        Regime(
            name="svm_probe",
            start=copy_weights,
            own=frozenset({"svm"}),
            unused=frozenset[Scope]({"training", "stages", "head_first"}),
            needed_parameters=frozenset({"svm_c"}),
            fix=fit_once,
            trains="svm",
        ),
        # A random encoder under a trained head, the counterpart of `linear_probe`: the difference
        # between the two is what pre-training taught.
        Regime(name="frozen_random", unused=_OF_STAGES, fix=freeze_all_but_head),
        # Random weights whose mean and variance are, layer by layer, those of the upstream: does
        # feature reuse help, or only initialisation scale? Source: the Mean Var initialisation of
        # Raghu et al. 2019 (Transfusion), arXiv:1902.07208.
        Regime(name="moment_matched", start=copy_moments),
    )
}


def regime(name: str) -> Regime:
    """Return the regime called `name`, which may come from outside the package.

    Raises:
        StudyFileError: it is the name of a recipe.
        UserError: there is none; the message names the nearest.
    """
    if name == "published":
        raise StudyFileError(
            "'published' is a recipe and not a regime: every regime runs it as its trial 0, and "
            "the table [published] configures it: leave it out of regimes"
        )
    found = find("start", name, REGIMES)
    if not isinstance(found, Regime):
        raise wrong_type("start", name, "a Regime", found)
    return found
