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


class AttributeTexts:
    """Keeps the lines under a field from napoleon, which takes words before a colon for a type."""

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = {}

    def set_aside(
        self,
        _app: "Sphinx",
        what: str,
        name: str,
        _object: object,
        _options: object,
        lines: list[str],
    ) -> None:
        """Remember the lines of a field."""
        if what in ("attribute", "data"):
            self._kept[name] = lines[:]

    def put_back(
        self,
        _app: "Sphinx",
        _what: str,
        name: str,
        _object: object,
        _options: object,
        lines: list[str],
    ) -> None:
        """Give a field its own lines again."""
        lines[:] = self._kept.pop(name, lines)


def _section(module: str) -> str:
    return f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"
