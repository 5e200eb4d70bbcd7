"""What may be tuned: parameters, their ranges, and the search space of a regime."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from ecgopt.errors import StudyFileError
from ecgopt.training.recipe import Recipe

Value = float | int
"""One value of a tuned parameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A hyperparameter that a study may tune, and the recipe field that it sets."""

    name: str
    recipe_field: str
    is_integer: bool
    low: float
    high: float
    """The values beyond which the parameter has no meaning, both included."""


PARAMETERS: Final[Mapping[str, Parameter]] = {
    parameter.name: parameter
    for parameter in (
        Parameter("learning_rate", "learning_rate", False, 1e-8, 1.0),
        Parameter("epochs", "n_epochs", True, 1, 10_000),
        Parameter("frozen_stages", "n_frozen_stages", True, 0, 64),
        Parameter("weight_decay", "weight_decay", False, 0.0, 1.0),
        Parameter("dropout", "dropout", False, 0.0, 0.95),
        Parameter("head_rate_ratio", "head_rate_ratio", False, 1e-3, 1e3),
        Parameter("layer_decay", "layer_decay", False, 1e-3, 1.0),
        Parameter("head_first_share", "head_first_share", False, 0.01, 0.95),
        Parameter("svm_c", "svm_c", False, 1e-8, 1e8),
    )
}

STAGE_PARAMETERS: Final = frozenset(
    {"frozen_stages", "head_rate_ratio", "layer_decay", "head_first_share"}
)
"""Parameters without a meaning where the head alone is trained."""

DEFAULT_HEAD_FIRST_SHARE: Final = 0.5
"""Half of the epochs for the head alone, as in the PTB-XL benchmark's fine-tuning (30 of 60)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Closed interval that one parameter is searched in."""

    low: float
    high: float
    log: bool = False

    def distribution(self, parameter: Parameter) -> BaseDistribution:
        """Return Optuna's distribution over this range."""
        if parameter.is_integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def contains(self, value: float) -> bool:
        """Tell whether `value` lies in the range, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The ranges that one regime is tuned over; a name occurs once."""

    ranges: Mapping[str, Range]

    def __or__(self, other: "SearchSpace") -> "SearchSpace":
        """Return the union; a parameter given twice is an error, so shared ranges stay equal.

        Raises:
            StudyFileError: both spaces define the same parameter.
        """
        twice = sorted(set(self.ranges) & set(other.ranges))
        if twice:
            raise StudyFileError(
                f"parameter {twice[0]!r} must have one range for both regimes, but it is given as "
                "shared and again as a regime's own: delete one of the two"
            )
        return SearchSpace({**self.ranges, **other.ranges})

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.ranges))

    def fingerprint(self) -> str:
        """Return a hash of names and bounds that does not depend on their order."""
        content = {
            name: [self.ranges[name].low, self.ranges[name].high, self.ranges[name].log]
            for name in self
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def capped(self, name: str, most: float) -> "SearchSpace":
        """Return the space with the range of `name`, if there is one, ending at `most` or below."""
        if name not in self.ranges or self.ranges[name].high <= most:
            return self
        span = self.ranges[name]
        return SearchSpace({**self.ranges, name: replace(span, low=min(span.low, most), high=most)})

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions by parameter name, in a fixed order."""
        return {name: self.ranges[name].distribution(PARAMETERS[name]) for name in self}

    def outside(self, values: Mapping[str, Value]) -> list[str]:
        """Return the names of `values` that lie outside their range or have none."""
        return [
            name
            for name, value in values.items()
            if name not in self.ranges or not self.ranges[name].contains(value)
        ]

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Return a value for every parameter, asked from `trial` in a fixed order."""
        return {name: _suggest(trial, name, self.ranges[name], PARAMETERS[name]) for name in self}


def _suggest(trial: optuna.Trial, name: str, span: Range, parameter: Parameter) -> Value:
    if parameter.is_integer:
        return trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
    return trial.suggest_float(name, float(span.low), float(span.high), log=span.log)


def with_parameters(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """Return `recipe` with the fields that `values` (by parameter name) set."""
    fields: dict[str, Any] = {
        PARAMETERS[name].recipe_field: value for name, value in values.items()
    }
    return replace(recipe, **fields)
