"""Reads a user's TOML files strictly and explains all errors in one go."""

import json
import re
import tomllib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ecgopt.errors import UserError, did_you_mean, nearest

Key = tuple[int | str, ...]
"""A place in a file: names of tables and keys, and positions in lists from 0."""

BrokenRule = tuple[Key, str]
"""The key that breaks a rule, below the table that has the rule, and what is wrong with it."""

NAME_FORM: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
PART_FORM: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.]*)?$"
REFERENCE_FORM: Final = r"^([A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.]*)?|.+\.toml)$"
FOLDER_FORM: Final = r"^([^$\x00]|\$\$|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})+$"
PREFIX_FORM: Final = r"^[A-Za-z]{1,8}$"
ADDRESS_FORM: Final = (
    r"^(https?://[^\s$]([^\s$]|\$[A-Za-z_]|\$\{[A-Za-z_][A-Za-z0-9_]*\})*"
    r"|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})$"
)
OWN_NAME_FORM: Final = r"^[a-z][a-z0-9_]{0,31}$"

FORMS: Final[Mapping[str, str]] = {
    NAME_FORM: "letters, digits, '_', '.' and '-', beginning with a letter or digit",
    PART_FORM: "a name of letters, digits, '_', '.' and '-', or package.module:name",
    REFERENCE_FORM: "a name, package.module:name, or the path of a .toml file",
    FOLDER_FORM: "a path, with variables as $NAME or ${NAME}, and $$ for a dollar sign",
    PREFIX_FORM: "one to eight letters",
    ADDRESS_FORM: "an address that begins with http:// or https://, or a variable that holds one, "
    "such as $ECGOPT_WEBHOOK",
    OWN_NAME_FORM: "at most 32 small letters, digits and '_', beginning with a letter",
}
"""The forms that text must have, in words."""

MAX_DEPTH: Final = 50
"""Tables and lists within each other; no file needs more than six."""
MAX_LINES: Final = 30
"""Errors that a message shows at most."""
MAX_BITS: Final = 63
"""TOML's own limit on whole numbers."""

_TYPES = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a table",
    "string_type": "text in quotes",
    "tuple_type": "a list",
}
"""What a value must be, by the validator's error type."""

_LIMITS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_too_long": "at most {max_length} characters long",
    "string_too_short": "at least {min_length} characters long",
    "too_long": "a list of at most {max_length} entries",
    "too_short": "a list of at least {min_length} entries",
}
"""What a value must be, by the validator's error type, with the limit of the error's context."""

OTHER: Final = "of another type"
"""For errors that no table here can have; a test looks for it."""

Model = TypeVar("Model", bound=BaseModel)


class BrokenRules(ValueError):
    """The values of one table break rules together."""

    def __init__(self, rules: Sequence[BrokenRule]) -> None:
        super().__init__("; ".join(f"{_written(key)}: {text}" for key, text in rules))
        self.rules = rules


class TomlTable(BaseModel):
    """A table of a TOML file; an unknown key is an error, and so are infinity and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together; each by itself is right."""
        yield from ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if broken := list(self.broken_rules()):
            raise BrokenRules(broken)
        return self


def refusal(check: Callable[..., object], *arguments: object) -> str | None:
    """Return why `check` refuses the arguments; None if it accepts them."""
    try:
        check(*arguments)
    except UserError as error:
        return str(error)
    return None


def read_toml(path: Path, model: type[Model], failure: type[UserError]) -> Model:
    """Return the content of the TOML file at `path` as a `model`.

    Args:
        path: A file in UTF-8, with or without a byte order mark.
        model: The keys that the file can have.
        failure: The error to raise.

    Raises:
        UserError: of the type `failure`: the file cannot be read or breaks a rule. The message
            has a line for each error, with file, key, value and remedy.
    """
    found, faults = checked(_parsed(path, failure), model)
    if found is None:
        if len(faults) > MAX_LINES:
            faults[MAX_LINES:] = [f"and {len(faults) - MAX_LINES} more errors"]
        raise failure("\n".join(f"{path}: {line}" for line in faults))
    return found


def checked(
    content: Mapping[str, object], model: type[Model]
) -> tuple[Model, list[str]] | tuple[None, list[str]]:
    """Return the content of a TOML file as a `model`, or None and a line for each error."""
    unusable: dict[Key, str] = {}
    plain = _plain(content, (), unusable)
    faults = [f"{_written(key)}: {reason}" for key, reason in unusable.items()]
    found = None
    try:
        # JSON, because strict validation of Python objects refuses lists where tuples are meant.
        found = model.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        faults.extend(explained(error, model, content=plain, known=unusable))
    return (None, list(dict.fromkeys(faults))) if faults or found is None else (found, [])


def explained(
    error: ValidationError,
    model: type[BaseModel],
    *,
    content: object = None,
    known: Container[Key] = (),
) -> Iterator[str]:
    """Yield a line for each error: key, value and remedy.

    Args:
        error: What the validator raised.
        model: What it validated against.
        content: What it validated, so that no key is proposed which is there already.
        known: Keys whose errors are told already.
    """
    errors = [
        found
        for found in error.errors(include_url=False)
        if _own_part(found["loc"], model) not in known
    ]
    missing = {found["loc"] for found in errors if found["type"] == "missing"}
    for found in errors:
        if found["type"] == "extra_forbidden":
            *place, name = found["loc"]
            absent = [str(loc[-1]) for loc in missing if list(loc[:-1]) == place]
            near = nearest(str(name), absent)
            if near is not None:
                missing.discard((*place, near))
            what = "table" if isinstance(found["input"], dict) else "key"
            there = _at(content, place)
            hint = (
                f"did you mean {near!r}?" if near else _whereabouts(model, place, str(name), there)
            )
            yield f"{_key(found['loc'], model)}: unknown {what}: {hint}"
    yield from _rules(
        [
            found
            for found in errors
            if found["type"] != "extra_forbidden"
            and (found["type"] != "missing" or found["loc"] in missing)
        ],
        model,
    )


def _parsed(path: Path, failure: type[UserError]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise failure(f"{path}: {error.strerror}: give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise failure(
            f"{path}: the file must be text in UTF-8, but byte {error.start} is not: save it as "
            "UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise failure(f"{path}: the file must be valid TOML, but: {error}") from error
    except RecursionError:
        raise failure(f"{path}: {_TOO_DEEP}") from None
    except ValueError:
        # Python's own limit on the digits of a number, and a path with a NUL.
        raise failure(f"{path}: {_TOO_LONG}") from None


_TOO_DEEP: Final = f"tables and lists must not be nested more than {MAX_DEPTH} deep: flatten them"
_TOO_LONG: Final = "whole numbers must be below 2^63 (19 digits): give a smaller one"


def _plain(value: object, key: Key, unusable: dict[Key, str]) -> object:
    """Return `value` as plain JSON; unusable parts become null and are added to `unusable`."""
    if len(key) > MAX_DEPTH:
        unusable[key[:1]] = _TOO_DEEP
        return None
    match value:
        case dict():
            return {name: _plain(each, (*key, name), unusable) for name, each in value.items()}
        case list():
            return [_plain(each, (*key, place), unusable) for place, each in enumerate(value)]
        case int() if value.bit_length() > MAX_BITS:
            unusable[key] = _TOO_LONG
            return None
        case bool() | int() | float() | str():
            return value
    unusable[key] = f"dates and times have no meaning here: write {str(value)!r} in quotes"
    return None


def _rules(errors: Iterable[ErrorDetails], model: type[BaseModel]) -> Iterator[str]:
    """Yield a line for each error of a known key; alternatives for one value share a line."""
    alternatives: dict[tuple[str, str], list[str]] = {}
    rules: Sequence[BrokenRule]
    for error in errors:
        key = _key(error["loc"], model)
        if error["type"] == "missing":
            what = {"]": "table", ")": "entry"}.get(key[-1], "key")
            yield f"{key}: this {what} is missing: add it"
        elif error["type"] == "value_error":
            broken = error["ctx"]["error"]
            rules = broken.rules if isinstance(broken, BrokenRules) else [((), str(broken))]
            for below, text in rules:
                place = _key((*_own_part(error["loc"], model), *below), model)
                yield f"{place}: {text}" if place else text
        elif not _is_echo(error):
            alternatives.setdefault((key, _shown(error["input"])), []).append(_rule(error))
    for (key, value), options in alternatives.items():
        yield f"{key}: must be {' or '.join(dict.fromkeys(options))}, but is {value}"


def _is_echo(error: ErrorDetails) -> bool:
    """Return whether a list counts as too short only because its faulty entries were left out."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _rule(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "string_pattern_mismatch":
        return FORMS.get(error["ctx"]["pattern"], OTHER)
    if kind == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "text that is not empty"
    return _LIMITS[kind].format(**error["ctx"]) if kind in _LIMITS else _TYPES.get(kind, OTHER)


def _at(content: object, place: Iterable[int | str]) -> Container[str]:
    """Return the keys of the table at `place` in a file."""
    found: Any = content
    for part in place:
        found = found[part] if found is not None else None
    return found or ()


def _whereabouts(
    model: type[BaseModel], place: Sequence[int | str], name: str, there: Container[str]
) -> str:
    """Return what to do with a key `name` that the table at `place` cannot have.

    Args:
        model: The keys that the file can have.
        place: The table.
        name: The key.
        there: The keys that the table has.
    """
    homes = [home for home, keys in _tables(model, "") if name in keys]
    if homes:
        return f"it belongs {' or '.join(homes)}"
    tables = [kind for kind in _kinds_at(model, place) if _is_model(kind)]
    keys = [key for kind in tables for key in kind.model_fields]
    free = [key for key in keys if key not in there]
    return did_you_mean(name, free if nearest(name, free) else keys)


def _tables(model: type[BaseModel], path: str) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the place of each table of a file, in words, and its keys."""
    yield f"in {path}" if path else "before the first table", model.model_fields
    for name, field in model.model_fields.items():
        for kind in _options(field.annotation):
            below = f"{path.strip('[]')}.{name}".lstrip(".")
            while get_origin(kind) in (dict, Mapping, tuple):
                below = f"{below}.NAME" if get_origin(kind) is not tuple else f"[{below}]"
                kind = _options(get_args(kind)[get_origin(kind) is not tuple])[0]
            if _is_model(kind):
                yield from _tables(kind, f"[{below}]")


def _key(location: Key, model: type[BaseModel]) -> str:
    """Return a place as it is written in TOML; entries of a list count from 1."""
    own = _own_part(location, model)
    kinds = _kinds_at(model, own)
    is_table = kinds and all(_is_model(kind) or get_origin(kind) is dict for kind in kinds)
    return f"[{_dotted(own)}]" if is_table and own and isinstance(own[-1], str) else _written(own)


def _written(location: Key) -> str:
    if not location:
        return ""
    *tables, name = location
    if isinstance(name, int):
        return f"{_written(tuple(tables))} (entry {name + 1})"
    if tables and isinstance(tables[-1], int):
        return f"[[{_dotted(tables[:-1])}]] (entry {tables[-1] + 1}) {_dotted([name])}"
    return f"[{_dotted(tables)}] {_dotted([name])}" if tables else _dotted([name])


def _dotted(names: Iterable[int | str]) -> str:
    shown = (str(name) if re.fullmatch(r"[\w-]+", str(name)) else repr(name) for name in names)
    return ".".join(name if len(name) <= 80 else f"{name[:77]}..." for name in shown)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case None:
            return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _own_part(location: Key, model: type[BaseModel]) -> Key:
    """Return `location` without what the validator adds: the names of a union's options."""
    kinds: list[Any] = [model]
    own: list[int | str] = []
    is_option = False
    for part in location:
        if part == "[key]" and len(own) == len(location) - 1:
            break
        if len(kinds) > 1 and not is_option:
            is_option = True
            continue
        kinds = [below for kind in kinds for below in _step(kind, part)]
        is_option = False
        own.append(part)
    return tuple(own)


def _kinds_at(model: type[BaseModel], location: Iterable[int | str]) -> list[Any]:
    """Return the types that the value at `location` below `model` may have."""
    kinds: list[Any] = [model]
    for part in location:
        kinds = [below for kind in kinds for below in _step(kind, part)]
    return kinds


def _step(kind: Any, part: int | str) -> list[Any]:  # noqa: ANN401 - type objects
    """Return the types of the value under `part` of a table, or at position `part` of a list."""
    arguments = get_args(kind)
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return _options(field.annotation) if field else []
    if get_origin(kind) in (dict, Mapping):
        return _options(arguments[1])
    if get_origin(kind) is tuple and isinstance(part, int):
        return _options(arguments[0])
    return []


def _options(kind: Any) -> list[Any]:  # noqa: ANN401 - type objects
    """Return the alternatives of a type, without its constraints and None."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [found for option in get_args(kind) for found in _options(option)]
    return [] if kind is type(None) else [kind]


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - type objects
    return isinstance(kind, type) and issubclass(kind, BaseModel)
