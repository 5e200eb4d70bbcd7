"""The published recipe: what Nguyen & Do trained both arms with, run as trial 0 of each study.

It is a recipe, not a regime: it starts from whatever weights its arm starts from, and keeps to what
its arm fixes (a linear probe freezes its encoder under this recipe too).
Source: arXiv 2402.02021 and its code: Adam 0.01, constant, batch 256, 100 epochs, no decay, no
clipping, nothing frozen. They trained in float64; float32 is used here, since it has no other
effect than speed.
"""

from dataclasses import replace

from ecgopt.regimes.space import DEFAULT_HEAD_FIRST_SHARE, Value
from ecgopt.training.recipe import Recipe

PUBLISHED_LEARNING_RATE = 0.01
PUBLISHED_EPOCHS = 100
DEFAULT_SVM_C = 1.0


def published_recipe(*, n_epochs: int = PUBLISHED_EPOCHS) -> Recipe:
    """Return the published recipe, by default with its 100 epochs."""
    return Recipe(
        optimizer="adam",
        learning_rate=PUBLISHED_LEARNING_RATE,
        n_epochs=n_epochs,
        batch_size=256,
        weight_decay=0.0,
        schedule="constant",
        warmup_share=0.0,
        clip_norm=None,
        n_frozen_stages=0,
    )


def published_parameters(names: frozenset[str], *, n_epochs: int) -> dict[str, Value]:
    """Return the published values of the tuned parameters in `names`.

    A parameter that the published study did not know takes the value that switches it off.
    """
    values: dict[str, Value] = {
        "learning_rate": PUBLISHED_LEARNING_RATE,
        "epochs": n_epochs,
        "frozen_stages": 0,
        "weight_decay": 0.0,
        "dropout": 0.0,
        "head_rate_ratio": 1.0,
        "layer_decay": 1.0,
        # These two cannot be switched off where they are tuned: there they take the default.
        "head_first_share": DEFAULT_HEAD_FIRST_SHARE,
        "svm_c": DEFAULT_SVM_C,
    }
    return {name: value for name, value in values.items() if name in names}


def with_precision_of(recipe: Recipe, other: Recipe) -> Recipe:
    """Return `recipe` computed in the precision of `other`, so that both arms share it."""
    return replace(recipe, precision=other.precision)
