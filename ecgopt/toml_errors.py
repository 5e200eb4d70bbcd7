"""Reading of a user's TOML file: a validated model, or all errors in plain words."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ecgopt.errors import UserError, did_you_mean, nearest

Model = TypeVar("Model", bound=BaseModel)

_KINDS = {
    "bool": "true or false",
    "dict": "a table",
    "finite_number": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a table",
    "string": "text in quotes",
    "tuple": "a list",
}
"""What a value must be, by the beginning of the validator's error type."""

_LIMITS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "at most {max_length} characters long",
    "string_too_short": "at least {min_length} characters long",
    "too_long": "a list of at most {max_length} entries",
    "too_short": "a list of at least {min_length} entries",
}
"""What a value must be, by the validator's error type, with the limit of the error's context."""


def read_toml(path: Path, model: type[Model], failure: type[UserError]) -> Model:
    """Return the content of the TOML file at `path` as a `model`.

    Args:
        path: A file in UTF-8, with or without a byte order mark.
        model: What the file may hold.
        failure: The error to raise.

    Raises:
        UserError: of the type `failure`: the file cannot be read or breaks a rule. The message
            holds a line for each error, with file, key, value and remedy.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise failure(f"{path}: {error.strerror}: give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise failure(
            f"{path}: the file must be text in UTF-8, but byte {error.start} is not: save it as "
            "UTF-8"
        ) from error
    except RecursionError:
        raise failure(f"{path}: lists or tables are nested too deeply: flatten them") from None
    except ValueError as error:
        raise failure(f"{path}: the file must be valid TOML, but: {error}") from error
    try:
        # JSON, because strict validation of Python objects refuses lists where tuples are meant.
        return model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        lines = dict.fromkeys(_lines(error.errors(include_url=False), model))
        raise failure("\n".join(f"{path}: {line}" for line in lines)) from error
    except UserError as error:
        raise failure(f"{path}: {error}") from error


def _lines(errors: list[ErrorDetails], model: type[BaseModel]) -> Iterable[str]:
    unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
    missing = {error["loc"] for error in errors if error["type"] == "missing"}
    for *place, name in unknown:
        absent = [str(loc[-1]) for loc in missing if list(loc[:-1]) == place]
        near = nearest(str(name), absent)
        if near is not None:
            missing.remove((*place, near))
        hint = did_you_mean(str(name), [near] if near else _keys_at(model, place))
        yield f"{_key((*place, name))}: unknown key: {hint}"
    rules: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        key = _key(_own_part(error["loc"], model))
        match error["type"]:
            case "missing" if error["loc"] in missing:
                yield f"{key}: this key is missing: add it"
            case "value_error":
                said = str(error["ctx"]["error"])
                yield f"{key}: {said}" if key else said
            case "missing" | "extra_forbidden":
                pass
            case _ if not _is_echo(error):
                rules.setdefault((key, _shown(error["input"])), []).append(_rule(error))
    for (key, value), options in rules.items():
        yield f"{key}: the value must be {' or '.join(options)}, but is {value}"


def _is_echo(error: ErrorDetails) -> bool:
    """Return whether a list counts as too short only because its faulty entries were left out."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _rule(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "text that is not empty"
    if kind in _LIMITS:
        return _LIMITS[kind].format(**error["ctx"])
    return _KINDS.get(kind) or _KINDS.get(kind.split("_", 1)[0], "of another kind")


def _own_part(location: tuple[int | str, ...], model: type[BaseModel]) -> list[int | str]:
    """Return `location` without the names of a union's options, which the validator adds."""
    kind: Any = model
    own: list[int | str] = []
    for part in location:
        if kind is None or part == "[key]":
            break
        kind = _step_into(kind, part)
        if kind is not None or _is_key(part, own):
            own.append(part)
    return own


def _is_key(part: int | str, before: list[int | str]) -> bool:
    return not before or isinstance(part, int)


def _key(location: Iterable[int | str]) -> str:
    """Return a place as it is written in TOML; entries of a list count from 1."""
    parts = list(location)
    if not parts:
        return ""
    *tables, name = parts
    if isinstance(name, int):
        return f"{_key(tables)} (entry {name + 1})"
    if not tables:
        return name
    if isinstance(tables[-1], int):
        return f"[[{'.'.join(map(str, tables[:-1]))}]] {tables[-1] + 1}: {name}"
    return f"[{'.'.join(map(str, tables))}] {name}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _keys_at(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """Return the keys that the table at `location` below `model` may hold."""
    kind: Any = model
    for part in location:
        kind = _step_into(kind, part)
    return list(kind.model_fields) if _is_model(kind) else []


def _step_into(kind: Any, part: int | str) -> Any:  # noqa: ANN401 - type objects of any kind
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return _unwrapped(field.annotation) if field else None
    arguments = get_args(kind)
    if get_origin(kind) in (dict, Mapping):
        return _unwrapped(arguments[1])
    return _unwrapped(arguments[0]) if arguments and isinstance(part, int) else None


def _unwrapped(kind: Any) -> Any:  # noqa: ANN401 - type objects of any kind
    if get_origin(kind) in (Union, UnionType):
        return next(_unwrapped(option) for option in get_args(kind) if option is not type(None))
    return kind


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - type objects of any kind
    return isinstance(kind, type) and issubclass(kind, BaseModel)
