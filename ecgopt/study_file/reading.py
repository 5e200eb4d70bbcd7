"""Reads study files and the folders that they name."""

import os
from collections.abc import Mapping
from pathlib import Path
from string import Template

from ecgopt.errors import StudyFileError
from ecgopt.study_file.spec import StudySpec
from ecgopt.toml_errors import read_toml


def load_spec(path: Path) -> StudySpec:
    """Return the validated comparison of the study file at `path`.

    Raises:
        StudyFileError: the file is missing, is not TOML, or breaks a rule. The message has a line
            for each error, with file, key, value and remedy.
    """
    return read_toml(path, StudySpec, StudyFileError)


def expand_folder(text: str) -> Path:
    """Return the folder with environment variables and `~` filled in.

    Raises:
        StudyFileError: it names a variable that is not set.
    """
    return Path(expand_variables(text, "folder")).expanduser()


def expand_variables(text: str, what: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return `text` with environment variables filled in.

    Args:
        text: With variables as $NAME or ${NAME}, and $$ for a dollar sign.
        what: What the text is, for the message.
        environment: The variables.

    Raises:
        StudyFileError: it names a variable that is not set.
    """
    template = Template(text)
    if unset := [name for name in template.get_identifiers() if name not in environment]:
        raise StudyFileError(
            f"{what} {text!r}: the environment variable {unset[0]} is not set: set it to a {what}"
        )
    return template.substitute(environment)
