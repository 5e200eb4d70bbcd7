"""Reads study files and the folders that they name."""

import os
from pathlib import Path
from string import Template

from ecgopt.errors import StudyFileError
from ecgopt.study_file.spec import StudySpec
from ecgopt.toml_errors import read_toml

_DEFAULT_VARIABLES = {"ECGOPT_DATA": "../shared/data"}


def load_spec(path: Path) -> StudySpec:
    """Return the validated comparison of the study file at `path`.

    Raises:
        StudyFileError: the file is missing, is not TOML, or breaks a rule. The message names the
            file, the key, the value received and the remedy.
    """
    return read_toml(path, StudySpec, StudyFileError)


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
