"""The tuned hyperparameters: search spaces, their values, and the published recipe.

Each hyperparameter is declared as a field of `ecgopt.training.recipe.Recipe`; the search takes all
it knows of one from there.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ecgopt.errors import did_you_mean
from ecgopt.training.recipe import DECLARATIONS, Hyperparameter, Recipe, Value

PARAMETERS: Final[Mapping[str, Hyperparameter]] = {
    declared.name: declared for declared in DECLARATIONS.values() if declared.is_tunable
}
"""The hyperparameters that a study may tune, by their names in study files."""

PUBLISHED_EPOCHS: Final = int(PARAMETERS["epochs"].published or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Closed interval that one parameter is searched in."""

    low: float
    high: float
    log: bool = False

    def distribution(self, *, is_integer: bool) -> BaseDistribution:
        """Return Optuna's distribution over this range."""
        if is_integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def contains(self, value: Value) -> bool:
        """Return whether `value` is in the range, ends included."""
        return not isinstance(value, str) and self.low <= value <= self.high

    def content(self) -> Sequence[object]:
        """Return what identifies the range, as plain JSON."""
        return [self.low, self.high, self.log]

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{' log' if self.log else ''}"


@dataclass(frozen=True, slots=True)
class Choices:
    """Values that one categorical parameter is searched over."""

    values: tuple[str, ...]

    def distribution(self, *, is_integer: bool) -> BaseDistribution:  # noqa: ARG002 - the contract's arguments
        """Return Optuna's distribution over these values."""
        return CategoricalDistribution(self.values)

    def contains(self, value: Value) -> bool:
        """Return whether `value` is one of the choices."""
        return value in self.values

    def content(self) -> Sequence[object]:
        """Return what identifies the choices, as plain JSON."""
        return self.values

    def __str__(self) -> str:
        return " or ".join(self.values)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The ranges that one arm is tuned over, by parameter name."""

    ranges: Mapping[str, Range | Choices]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.ranges))

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.ranges[name]}" for name in self)

    def numeric(self, name: str) -> Range | None:
        """Return the range of a number; None where it is not searched."""
        span = self.ranges.get(name)
        return span if isinstance(span, Range) else None

    def fingerprint(self) -> str:
        """Return a hash of names, bounds and choices that does not depend on the names' order."""
        content = {name: self.ranges[name].content() for name in self}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def capped(self, name: str, most: float) -> "SearchSpace":
        """Return the space with the range of `name`, if there is one, ending at `most` or below."""
        span = self.numeric(name)
        if span is None or span.high <= most:
            return self
        return SearchSpace({**self.ranges, name: replace(span, low=min(span.low, most), high=most)})

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions by parameter name, in a fixed order."""
        return {
            name: self.ranges[name].distribution(is_integer=PARAMETERS[name].kind == "int")
            for name in self
        }


def range_problem(name: str, span: Range | Choices) -> str:
    """Return what is wrong with searching the parameter `name` over `span`, or an empty text."""
    if name not in PARAMETERS:
        return f"is not a parameter: {did_you_mean(name, PARAMETERS)}"
    parameter = PARAMETERS[name]
    is_text = parameter.kind == "categorical"
    if isinstance(span, Choices):
        problems = (parameter.problem(value) for value in span.values)
        return next(filter(None, problems), "") if is_text else "is a number: give low and high"
    if is_text:
        return f"is not a number: give choices out of {', '.join(parameter.choices)}"
    is_whole = parameter.kind == "int" and span.low == int(span.low) and span.high == int(span.high)
    bounds = (int(end) if is_whole else end for end in (span.low, span.high))
    return next(filter(None, map(parameter.problem, bounds)), "")


def with_parameters(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """Return `recipe` with the fields that `values` (by parameter name) set."""
    fields: dict[str, Any] = {
        PARAMETERS[name].recipe_field: value for name, value in values.items()
    }
    return replace(recipe, **fields)


def published_recipe(*, n_epochs: int = PUBLISHED_EPOCHS) -> Recipe:
    """Return the recipe that Nguyen & Do trained both arms with, by default with its 100 epochs.

    It is a recipe and not a regime: it is trial 0 of each study, starts from the weights of its
    arm, and keeps to what its arm fixes. They trained in float64; float32 is used here,
    since it has no other effect than speed.

    Source: arXiv 2402.02021 and its code.
    """
    # What only one kind of arm has, such as the head's own phase, is set by that arm.
    values: dict[str, Any] = {
        field: declared.published
        for field, declared in DECLARATIONS.items()
        if declared.scope in ("training", "stages")
    }
    return Recipe(**{**values, "n_epochs": n_epochs})


def published_parameters(names: Collection[str], *, n_epochs: int) -> dict[str, Value]:
    """Return the published values of the tuned parameters in `names`."""
    values: dict[str, Any] = {name: PARAMETERS[name].published for name in sorted(names)}
    return values | {"epochs": n_epochs} if "epochs" in values else values


def with_precision_of(recipe: Recipe, other: Recipe) -> Recipe:
    """Return `recipe` computed in the precision of `other`, so that both arms share it."""
    return replace(recipe, precision=other.precision)
