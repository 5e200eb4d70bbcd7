"""Reading a study file: from a path to a validated `StudySpec`, or one clear line."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ecgopt.errors import StudyFileError
from ecgopt.study_file.spec import StudySpec

_DEFAULT_VARIABLES = {"ECGOPT_DATA": "../shared/data"}


def load_spec(path: Path) -> StudySpec:
    """Return the validated comparison of the study file at `path`.

    Raises:
        StudyFileError: the file is missing, is not TOML, or breaks a rule. The message names the
            file, the key, the value received and the remedy.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyFileError(
            f"{path}: the study file must be readable, but: {error.strerror}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{path}: the study file must be valid TOML, but: {error}") from error
    try:
        return StudySpec.model_validate(content)
    except ValidationError as error:
        raise StudyFileError(f"{path}: {_describe(error)}") from error


def expand_folder(text: str) -> Path:
    """Return the folder with environment variables and `~` filled in.

    Raises:
        StudyFileError: it names a variable that is not set.
    """
    try:
        filled = Template(text).substitute({**_DEFAULT_VARIABLES, **os.environ})
    except (KeyError, ValueError) as error:
        raise StudyFileError(
            f"folder {text!r} names the environment variable {error}, which is not set: set it"
        ) from error
    return Path(filled).expanduser()


def _describe(error: ValidationError) -> str:
    first, *rest = error.errors(include_url=False)
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(rest)} more)" if rest else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}: {_nearest_key(first['loc'])}{more}"
    if first["type"] == "missing":
        return f"missing key {where!r}: add it{more}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}{more}" if where else f"{message}{more}"
    return f"{where}: {message}, but got {first['input']!r}{more}"


def _nearest_key(location: tuple[int | str, ...]) -> str:
    known = _keys_at(StudySpec, location[:-1])
    close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"the keys here are {', '.join(sorted(known))}"


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
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
    return _unwrapped(arguments[0]) if arguments else None


def _unwrapped(kind: Any) -> Any:  # noqa: ANN401 - type objects of any kind
    if get_origin(kind) in (Union, UnionType):
        return next(_unwrapped(option) for option in get_args(kind) if option is not type(None))
    return kind


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - type objects of any kind
    return isinstance(kind, type) and issubclass(kind, BaseModel)
