"""Only `ecgopt.database.optuna` touches what Optuna and its dashboard keep private.

Import-linter sees an external package as one module, so it cannot tell its private modules apart.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "ecgopt"
ADAPTER = PACKAGE / "database" / "optuna"
ATTRIBUTES = {"_trial_id", "_study_id", "_storage", "_backend", "_thread_local"}


def private_parts(source):
    """Return the private imports and attributes of Optuna in this source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                paths = [f"{module}.{name.name}" for name in names]
            case ast.Import(names=names):
                paths = [name.name for name in names]
            case ast.Attribute(attr=attribute, value=value):
                of_own = isinstance(value, ast.Name) and value.id == "self"
                found += [attribute] if attribute in ATTRIBUTES and not of_own else []
                continue
            case _:
                continue
        for path in paths:
            top, *rest = path.split(".")
            if top in ("optuna", "optuna_dashboard") and any(part[0] == "_" for part in rest):
                found.append(path)
    return found


def test_only_the_adapter_touches_private_parts():
    modules = [path for path in PACKAGE.rglob("*.py") if ADAPTER not in path.parents]
    found = {path.name: parts for path in modules if (parts := private_parts(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "from optuna.storages._rdb import models",
        "from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES",
        "import optuna_dashboard._note",
        "study._study_id",
        "self.stored._trial_id",
    ],
)
def test_a_private_part_is_found(source):
    assert private_parts(source)


@pytest.mark.parametrize("source", ["from optuna.trial import FrozenTrial", "self._storage"])
def test_a_public_part_is_not(source):
    assert private_parts(source) == []
