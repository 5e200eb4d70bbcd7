"""Arguments and options that several commands share, each with one wording."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ecgopt.errors import StudyFileError


def _exists(_type: object, path: Path | None) -> None:
    # Before the command imports anything: a mistyped name is answered immediately.
    if path is not None and not path.exists():
        raise StudyFileError(f"{path}: no such file: check the path of the study file")


StudyFile = Annotated[Path, Parameter(validator=_exists)]
"""The path of a study file or bundle that exists."""
