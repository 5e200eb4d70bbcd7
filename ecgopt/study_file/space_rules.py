"""The rules that a study file's search spaces must keep."""

import difflib
from collections.abc import Collection, Mapping

from ecgopt.models.registry import ModelSpec, freezable_stages
from ecgopt.regimes.hyperparameters import PARAMETERS, Choices, Range, SearchSpace
from ecgopt.regimes.regimes import Regime
from ecgopt.training.recipe import Value


def check_own_parameters(regime: Regime, given: Collection[str]) -> None:
    """Check the parameters of `[space.<regime>]`.

    Raises:
        ValueError: one belongs into `[space.shared]`, or one that the regime needs is missing.
    """
    own = regime.own_parameters
    for name in given:
        if name in PARAMETERS and name not in own:
            raise ValueError(
                f"[space.{regime.name}] may hold {sorted(own) or 'nothing'}, but got {name!r}: "
                "write it once in [space.shared]"
            )
    for name in sorted(regime.needed_parameters):
        if name not in given:
            raise ValueError(f"[space.{regime.name}] must give a range for {name!r}: add one")


def check_ranges(space: SearchSpace, models: Mapping[str, ModelSpec]) -> None:
    """Check that every parameter is known and its range has a meaning for the models.

    Raises:
        ValueError: a parameter is unknown or its range is out of bounds.
    """
    for name, span in space.ranges.items():
        _check_range(name, span)
    if (frozen := space.numeric("frozen_stages")) is None:
        return
    # Of several models the one with most stages decides; the others' ranges end where theirs do.
    label, most = max(
        ((label, freezable_stages(model)) for label, model in models.items()),
        key=lambda found: found[1],
    )
    if frozen.high > most:
        raise ValueError(
            f"`frozen_stages <= {most}` must hold for {label}, but got high={frozen.high:g}"
        )


def check_published(space: SearchSpace, values: Mapping[str, Value]) -> None:
    """Check that the published recipe is a point of the space.

    Raises:
        ValueError: it is not.
    """
    for name in space.outside(values):
        shorter = ", or for a first look set `epochs` in [published]" if name == "epochs" else ""
        raise ValueError(
            f"the published recipe must lie in the searched space, but its {name} = "
            f"{values[name]} is outside {space.ranges[name]}: widen the range{shorter}"
        )


def check_pretraining(space: SearchSpace) -> None:
    """Check that the tuned parameters of a pre-training have a meaning there.

    Raises:
        ValueError: a parameter has no meaning there, or its range is out of bounds.
    """
    known = [name for name, declared in PARAMETERS.items() if declared.scope == "training"]
    for name, span in space.ranges.items():
        _check_range(name, span)
        if name not in known:
            raise ValueError(
                f"[pretrain.tuning.space] may hold {', '.join(known)}, but got {name!r}"
            )


def _check_range(name: str, span: Range | Choices) -> None:
    if name not in PARAMETERS:
        nearest = difflib.get_close_matches(name, PARAMETERS, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown parameter {name!r}: did you mean {nearest!r}?")
    parameter = PARAMETERS[name]
    if isinstance(span, Choices):
        if parameter.kind != "categorical":
            raise ValueError(f"{name} is a number: give low and high instead of choices")
        for value in span.values:
            if problem := parameter.problem(value):
                raise ValueError(problem)
        return
    if parameter.kind == "categorical":
        raise ValueError(f"{name} is not a number: give choices out of {list(parameter.choices)}")
    if span.low < parameter.low or span.high > parameter.high:
        raise ValueError(
            f"`{parameter.low:g} <= {name} <= {parameter.high:g}` must hold, "
            f"but got [{span.low:g}, {span.high:g}]"
        )
