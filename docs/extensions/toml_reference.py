"""A reference of a TOML file's keys, written from the pydantic models that validate the file."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sphinx.pycode import ModuleAnalyzer

from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.toml_errors import FOLDER_FORM, FORMS, NAME_FORM, REFERENCE_FORM
from ecgopt.training.recipe import Hyperparameter

_PLACEHOLDERS = {"space": ("GROUP", "PARAMETER"), "pretrain.tuning.space": ("PARAMETER",)}
"""What stands for a key that the writer of the file chooses; elsewhere it is NAME."""

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
}
_NAMED = {NAME_FORM: "name", REFERENCE_FORM: "name, or path of a TOML file", FOLDER_FORM: "path"}
"""Forms of text with a short name; the page of the study file explains names."""
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file: where it stands, and the model of its keys."""

    path: str
    """Dotted path with placeholders; empty for the keys before the first table."""
    is_list: bool
    model: type[BaseModel]
    doc: str
    """What the field that holds the table says of it."""
    is_required: bool

    @property
    def heading(self) -> str:
        """The table's line in a TOML file."""
        return f"[[{self.path}]]" if self.is_list else f"[{self.path}]"


def reference(model: type[BaseModel]) -> str:
    """Return Markdown that names every key below `model`: type, limits, default and meaning."""
    return "\n".join(line for table in tables(model) for line in _table_lines(table))


def tables(model: type[BaseModel]) -> Iterator[Table]:
    """Yield `model` as the top of a file and every table below it, in the order of its fields."""
    yield Table("", is_list=False, model=model, doc="", is_required=True)
    yield from _tables_below(model, "")


def keys(model: type[BaseModel]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and JSON schema of every key of one table that is not a table itself."""
    for name, schema in _properties(model).items():
        if _table_in(name, schema, "", model) is None:
            yield name, schema


def parameters() -> str:
    """Return a Markdown table of the parameters that a study may search."""
    rows = [
        f"| `{name}` | {_values(declared)} | {declared.meaning} | {_literal(declared.published)} |"
        for name, declared in PARAMETERS.items()
    ]
    heading = "| parameter | values | what it is | published recipe |"
    return "\n".join((heading, "|---|---|---|---|", *rows))


def _values(declared: Hyperparameter) -> str:
    if declared.kind == "categorical":
        return " or ".join(map(_literal, declared.choices))
    return f"{declared.low:g} to {declared.high:g}{', whole' if declared.kind == 'int' else ''}"


def documentation(model: type[BaseModel], field: str) -> str:
    """Return a field's description, or the text under it in the source; empty where none is."""
    for owner in model.__mro__:
        if owner.__module__.startswith("ecgopt."):
            docs = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs()
            if lines := docs.get((owner.__qualname__, field)):
                return " ".join(line.strip() for line in lines if line.strip())
    return model.model_fields[field].description or ""


def _tables_below(model: type[BaseModel], path: str) -> Iterator[Table]:
    for name, schema in _properties(model).items():
        found = _table_in(name, schema, path, model)
        if found is not None:
            yield found
            yield from _tables_below(found.model, found.path)


def _table_in(
    name: str, schema: Mapping[str, Any], path: str, owner: type[BaseModel]
) -> Table | None:
    """Return the table that a field holds, alone, in a list or under chosen names, if any."""
    below, is_list = f"{path}.{name}".lstrip("."), False
    placeholders = iter(_PLACEHOLDERS.get(below, ("NAME",)))
    inner = _without_null(schema)
    while "$ref" not in inner:
        if inner.get("type") == "array" and "items" in inner:
            inner, is_list = inner["items"], True
        elif inner.get("type") == "object":
            inner = _chosen(inner)
            below += f".{next(placeholders)}"
        else:
            return None
    model = getattr(sys.modules[owner.__module__], inner["$ref"].rpartition("/")[2])
    is_required = owner.model_fields[name].is_required()
    return Table(below, is_list, model, documentation(owner, name), is_required)


def _chosen(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of an object's values, whose keys are free or follow one pattern."""
    patterns = schema.get("patternProperties", {})
    return next(iter(patterns.values()), None) or schema["additionalProperties"]


def _properties(model: type[BaseModel]) -> Mapping[str, Mapping[str, Any]]:
    properties: Mapping[str, Mapping[str, Any]] = model.model_json_schema().get("properties", {})
    return properties


def _table_lines(table: Table) -> Iterator[str]:
    if table.path:
        yield f"## `{table.heading}`"
        yield ""
        yield " ".join(filter(None, (table.doc, (table.model.__doc__ or "").split("\n\n")[0])))
        yield ""
        if not table.is_required:
            yield "The table may be left out."
            yield ""
    for name, schema in keys(table.model):
        required = table.model.model_fields[name].is_required()
        facts = ", ".join([_kind(schema), *(["**required**"] if required else _default(schema))])
        yield f"**`{name}`**"
        yield f": {facts}.<br>{documentation(table.model, name)}"
        yield ""


def _kind(schema: Mapping[str, Any]) -> str:
    inner = _without_null(schema)
    if "anyOf" in inner:
        return " or ".join(_kind(option) for option in inner["anyOf"])
    if "const" in inner:
        return _literal(inner["const"])
    if "enum" in inner:
        return " or ".join(_literal(value) for value in inner["enum"])
    if inner.get("type") == "array":
        if "prefixItems" in inner:
            return "list of " + " and ".join(_kind(item) for item in inner["prefixItems"])
        at_least = f" ({inner['minItems']} or more)" if "minItems" in inner else ""
        return f"list{at_least} of {_kind(inner['items'])}"
    if inner.get("type") == "object":
        return f"table of {_kind(_chosen(inner))}"
    if inner.get("pattern") in _NAMED:
        return _NAMED[inner["pattern"]]
    limits = [text.format(inner[key]) for key, text in _LIMITS.items() if key in inner]
    limits += [f"of the form: {FORMS[inner['pattern']]}"] if "pattern" in inner else []
    return " ".join([_KINDS[inner["type"]], ", ".join(limits)]).strip()


def _default(schema: Mapping[str, Any]) -> list[str]:
    default = schema.get("default")
    return ["may be left out" if default is None else f"by default {_literal(default)}"]


def _literal(value: object) -> str:
    return f"`{json.dumps(value)}`"


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an optional field's schema without the alternative that it is left out."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return options[0] if len(options) == 1 else {**schema, "anyOf": options} if options else schema
