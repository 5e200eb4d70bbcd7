"""A reference of a package's public modules, whose text autodoc takes from their docstrings."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, get_origin

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def reference(package: str) -> str:
    """Return Markdown with one section for each public module below `package`."""
    return "\n".join(_section(module) for module in modules(package))


def modules(package: str) -> Iterator[str]:
    """Yield the names of the public modules below `package`, or its own where it is a module."""
    found = import_module(package)
    if not hasattr(found, "__path__"):
        yield package
        return
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not module.ispkg and not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name


def skip_member(
    _app: "Sphinx", _what: str, _name: str, member: object, skip: bool, _options: object
) -> bool | None:
    """Leave out names of constrained types: the TOML references show what they stand for."""
    return True if get_origin(member) is Annotated else skip or None


def _section(module: str) -> str:
    return f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"
