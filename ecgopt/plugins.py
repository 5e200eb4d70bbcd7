"""Finds networks, starts, data sources, launchers, metrics and samplers outside the package.

Each is named `package.module:name`, or by the name of an entry point that an installed
distribution declares. The study file names it, so a study file runs code as a script does.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypeVar, cast

from ecgopt.errors import UserError, did_you_mean
from ecgopt.files import sha256_of

Kind = Literal["network", "start", "data source", "launcher", "metric", "sampler"]

ENTRY_POINTS: Final[Mapping[Kind, str]] = {
    "network": "ecgopt.networks",
    "start": "ecgopt.starts",
    "data source": "ecgopt.data_sources",
    "launcher": "ecgopt.launchers",
    "metric": "ecgopt.metrics",
    "sampler": "ecgopt.samplers",
}
"""The entry-point group of each kind."""

T = TypeVar("T")


def optional_library(name: str, extra: str, failure: type[UserError]) -> Any:  # noqa: ANN401
    """Import a library that only some users need; modules of such libraries have no types.

    Args:
        name: Of the library or of a module in it.
        extra: Of ecgopt, which installs it.
        failure: What is raised where it is not installed; the message holds the command.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != library:
            raise
        raise failure(f"{library} is not installed: pip install 'ecgopt[{extra}]'") from None


def find(kind: Kind, name: str, built_in: Mapping[str, T]) -> T:
    """Return the part called `name`: a built-in one, `package.module:name`, or an entry point.

    The type of a part from outside is not known here: the caller checks it with `wrong_type`.

    Args:
        kind: The kind of part.
        name: The name in the study file.
        built_in: The parts of the package by name.

    Raises:
        UserError: there is none, or its module cannot be imported; the message names the nearest.
    """
    if name in built_in:
        return built_in[name]
    return cast(T, _loaded(kind, _reference(kind, name, built_in)))


def wrong_type(kind: Kind, name: str, expected: str, found: object) -> UserError:
    """Return the error that the part called `name` is not `expected`.

    Args:
        kind: The kind of part.
        name: The name in the study file.
        expected: The type that the part must have, in words.
        found: The part.
    """
    return UserError(f"the {kind} {name!r} must be {expected}, but is {found!r}")


def outside_code(
    kind: Kind, names: Iterable[str], built_in: Mapping[str, object]
) -> dict[str, str]:
    """Return the identity of the code of each of `names` that is not built in.

    Args:
        kind: The kind of parts.
        names: The names in the study file.
        built_in: The parts of the package by name.

    Raises:
        UserError: there is no such part, or its code cannot be identified.
    """
    identities = {}
    for name in names:
        if name not in built_in:
            reference = _reference(kind, name, built_in)
            module = reference.partition(":")[0]
            identities[f"{kind} {name}"] = code_identity(_loaded(kind, reference), module)
    return identities


def code_identity(found: object, *modules: str) -> str:
    """Return the identity of an object's code; empty for an object of ecgopt itself.

    That is the distribution and version of the module that defines it, or the SHA-256 of that
    module's file where it belongs to no distribution or to one that is installed as editable.

    Args:
        found: A function, a class, or an instance of one.
        modules: Further modules that count, such as one that only names the object.

    Raises:
        UserError: a module has no file.
    """
    defining = getattr(found, "__module__", None) or type(found).__module__
    identities = {
        _module_identity(module)
        for module in {*modules, str(defining), type(found).__module__}
        if module in sys.modules
        and module.partition(".")[0] not in {"ecgopt", *sys.stdlib_module_names}
    }
    return ", ".join(sorted(identities))


def _reference(kind: Kind, name: str, built_in: Iterable[str]) -> str:
    if ":" in name:
        return name
    declared = metadata.entry_points(group=ENTRY_POINTS[kind])
    for entry_point in declared:
        if entry_point.name == name:
            return entry_point.value
    known = [*built_in, *declared.names]
    raise UserError(f"{kind} {name!r} is not known: {did_you_mean(name, known)}")


def _loaded(kind: Kind, reference: str) -> object:
    module_name, _, path = reference.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        # Any error of a foreign module is the user's to fix, and is shown with its own words.
        raise UserError(
            f"{kind} {reference!r}: the module {module_name!r} cannot be imported "
            f"({type(error).__name__}: {error}): install it, or add its folder to PYTHONPATH"
        ) from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            public = [each for each in dir(found) if not each.startswith("_")]
            raise UserError(
                f"{kind} {reference!r}: {module_name} has no {attribute!r}: "
                f"{did_you_mean(attribute, public)}"
            )
        found = getattr(found, attribute)
    return found


def _module_identity(name: str) -> str:
    distribution = _distribution(name)
    if distribution is not None:
        return f"{distribution.name} {distribution.version}"
    module: ModuleType = sys.modules[name]
    if not module.__file__:
        raise UserError(f"the module {name!r} has no file, so its code cannot be identified")
    return f"{name} sha256:{sha256_of(Path(module.__file__))}"


@cache
def _distribution(module: str) -> metadata.Distribution | None:
    """Return the distribution that installed the module; None if its files can still be edited."""
    for name in metadata.packages_distributions().get(module.partition(".")[0], ()):
        distribution = metadata.distribution(name)
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        if not origin.get("dir_info", {}).get("editable", False):
            return distribution
    return None
