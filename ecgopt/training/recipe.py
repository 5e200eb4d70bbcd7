"""Training recipes: every hyperparameter is declared once, as a field of `Recipe`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from ecgopt.errors import UserError

Precision = Literal["fp32", "tf32", "bf16"]

Value = float | int | str
"""One value of a hyperparameter; text where it is categorical."""
Scope = Literal["training", "stages", "head_first", "svm"]
"""The part that a hyperparameter acts on: gradient training as such, the stages below the head, the
phase that trains the head alone, or a support vector machine. A regime names the scopes it has."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """The declaration of one hyperparameter; its field gives name, kind, choices and default."""

    meaning: str
    """One sentence for the documentation."""
    published: Value | None
    """The published recipe's value, or the one that switches off what the paper did not have."""
    low: float = 0.0
    high: float = 0.0
    """Bounds of a number, both included; study files accept nothing beyond them."""
    is_open: bool = False
    """Whether code may exceed `high`."""
    is_tunable: bool = True
    scope: Scope = "training"
    name: str = ""
    """The name in study files; by default that of the field."""
    recipe_field: str = ""
    kind: Literal["float", "int", "categorical"] = "float"
    choices: tuple[str, ...] = ()
    default: Value | None = None
    """The value where a study file has none."""

    def problem(self, value: object, *, high: float = math.inf) -> str:
        """Return what is wrong with `value`, or an empty text.

        Args:
            value: The value to check.
            high: A bound below the declared one, such as the number of stages of a network.
        """
        if self.kind == "categorical":
            is_known = value in self.choices
            names = ", ".join(self.choices)
            return "" if is_known else f"{self.name} must be one of {names}, but is {value!r}"
        high = min(high, self.high)
        if self.kind == "int" and not isinstance(value, int):
            return f"{self.name} must be a whole number, but is {value!r}"
        if not isinstance(value, int | float) or not self.low <= value <= high:
            return f"{self.name} must be from {self.low:g} to {high:g}, but is {value}"
        return ""

    def parsed(self, text: str) -> Value:
        """Return the value that a user typed.

        Raises:
            UserError: the text is not of the parameter's kind.
        """
        if self.kind == "categorical":
            return text
        try:
            return int(text) if self.kind == "int" else float(text)
        except ValueError as error:
            kind = "a whole number" if self.kind == "int" else "a number"
            raise UserError(f"{self.name} must be {kind}, but is {text!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run's settings; data, model and seed are not part of it.

    A field and its declaration are all that a new hyperparameter needs: the tables `[recipe]`,
    `[pretrain]` and `[space]` of a study file, the published recipe, the search space and the
    reference pages follow from it.
    """

    learning_rate: Annotated[
        float,
        Hyperparameter(
            "Peak learning rate of the backbone's last stage.",
            published=0.01, low=1e-8, high=1.0, is_open=True,
        ),
    ] = 1e-3  # fmt: skip
    n_epochs: Annotated[
        int,
        Hyperparameter(
            "Passes over the training records; the schedule ends with the last.",
            published=100, low=1, high=10_000, name="epochs",
        ),
    ] = 30  # fmt: skip
    optimizer: Annotated[
        Literal["adamw", "adam", "sgd"],
        Hyperparameter(
            "AdamW decays weights apart from the gradient; Adam is the published one; SGD has a "
            "momentum of 0.9.",
            published="adam",
        ),
    ] = "adamw"
    batch_size: Annotated[
        int, Hyperparameter("Records per optimiser step.", published=256, low=1, high=65_536)
    ] = 64
    weight_decay: Annotated[
        float,
        Hyperparameter(
            "Decay of weight matrices and kernels, not of biases, norms or other vectors.",
            published=0.0, high=1.0,
        ),
    ] = 0.01  # fmt: skip
    schedule: Annotated[
        Literal["cosine", "constant"],
        Hyperparameter(
            "After the warm-up: down to zero at the run's own end, or level.",
            published="constant", is_tunable=False,
        ),
    ] = "cosine"  # fmt: skip
    warmup_share: Annotated[
        float,
        Hyperparameter(
            "Share of all optimiser steps in which the rate climbs linearly.",
            published=0.0, high=0.99, is_tunable=False,
        ),
    ] = 0.1  # fmt: skip
    clip_norm: Annotated[
        float | None,
        Hyperparameter(
            "Maximum gradient norm; in code, None disables clipping.",
            published=None, low=1e-8, high=1e8, is_tunable=False,
        ),
    ] = 1.0  # fmt: skip
    n_frozen_stages: Annotated[
        int,
        Hyperparameter(
            "Leading stages of the network that keep their first weights; the head is never among "
            "them.",
            published=0, high=64, scope="stages", name="frozen_stages",
        ),
    ] = 0  # fmt: skip
    precision: Annotated[
        Precision,
        Hyperparameter(
            "Arithmetic of training passes. TF32 is torch's own default for convolutions on a GPU, "
            "and fp32 on a CPU; networks slower in bf16 use TF32; evaluation uses fp32.",
            published="tf32", is_tunable=False,
        ),
    ] = "tf32"  # fmt: skip
    dropout: Annotated[
        float,
        Hyperparameter(
            "Share of the head's inputs dropped; 0 leaves the model's own rate.",
            published=0.0, high=0.95,
        ),
    ] = 0.0  # fmt: skip
    head_rate_ratio: Annotated[
        float,
        Hyperparameter(
            "Learning rate of the head divided by that of the stage before it.",
            published=1.0, low=1e-3, high=1e3, scope="stages",
        ),
    ] = 1.0  # fmt: skip
    layer_decay: Annotated[
        float,
        Hyperparameter(
            "Factor on the learning rate from each stage before the head to the one below it.",
            published=1.0, low=1e-3, high=1.0, scope="stages",
        ),
    ] = 1.0  # fmt: skip
    head_first_share: Annotated[
        float,
        Hyperparameter(
            "Share of the epochs in which the head alone is trained before all else joins in "
            "(LP-FT, Kumar et al. 2022, arXiv:2202.10054); each part has a warm-up and schedule of "
            "its own.",
            # Half of the epochs, as in the PTB-XL benchmark's fine-tuning (30 of 60).
            published=0.5, low=0.01, high=0.95, scope="head_first",
        ),
    ] = 0.0  # fmt: skip
    label_smoothing: Annotated[
        float,
        Hyperparameter(
            "Smoothing s of label targets: training compares with y (1 - s) + s / 2; validation "
            "compares with y.",
            published=0.0, high=0.5,
        ),
    ] = 0.0  # fmt: skip
    lead_dropout: Annotated[
        float,
        Hyperparameter(
            "Augmentation: probability of setting each lead of a training record to zero.",
            published=0.0, high=0.9,
        ),
    ] = 0.0  # fmt: skip
    noise_millivolts: Annotated[
        float,
        Hyperparameter(
            "Augmentation: standard deviation of Gaussian noise on each sample of a training "
            "record.",
            published=0.0, high=10.0,
        ),
    ] = 0.0  # fmt: skip
    time_shift_seconds: Annotated[
        float,
        Hyperparameter(
            "Augmentation: largest circular shift of a training record, to either side.",
            published=0.0, high=10.0,
        ),
    ] = 0.0  # fmt: skip
    svm_c: Annotated[
        float,
        Hyperparameter(
            "Inverse strength of an SVM's regularisation; networks do not read it.",
            published=1.0, low=1e-8, high=1e8, scope="svm",
        ),
    ] = 1.0  # fmt: skip

    def __post_init__(self) -> None:
        for field, declared in DECLARATIONS.items():
            value = getattr(self, field)
            # A default may be outside the bounds of a search: it switches the parameter off.
            is_off = value == declared.default or value is declared.published is None
            is_beyond = declared.is_open and declared.high < value < math.inf
            if not is_off and not is_beyond and (problem := declared.problem(value)):
                raise UserError(f"recipe: {problem}")


def _declared() -> dict[str, Hyperparameter]:
    hints = get_type_hints(Recipe, include_extras=True)
    defaults: dict[str, Any] = {field.name: field.default for field in fields(Recipe)}
    found = {}
    for field in fields(Recipe):
        kind, *notes = get_args(hints[field.name])
        (declared,) = [note for note in notes if isinstance(note, Hyperparameter)]
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        found[field.name] = replace(
            declared,
            name=declared.name or field.name,
            recipe_field=field.name,
            kind="categorical" if choices else "int" if kind is int else "float",
            choices=choices,
            default=defaults[field.name],
        )
    return found


DECLARATIONS: Final[Mapping[str, Hyperparameter]] = _declared()
"""Every hyperparameter by its field of `Recipe`."""
