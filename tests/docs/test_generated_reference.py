"""The references are complete: they are generated from what the code accepts."""

import re

import command_line
import pytest
import toml_reference
from api import modules
from documents import ROOT

from ecgopt.cli.app import VERBS
from ecgopt.data.sources.own_files import OwnFile
from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.study_file.spec import StudySpec

KEYS = [
    pytest.param(model, table, name, id=f"{model.__name__} {table.heading} {name}")
    for model in (StudySpec, OwnFile)
    for table in toml_reference.tables(model)
    for name, _ in toml_reference.keys(table.model)
]


@pytest.mark.parametrize(("model", "table", "name"), KEYS)
def test_a_key_stands_in_its_reference_with_its_documentation(model, table, name):
    written = toml_reference.documentation(table.model, name)
    assert written, f"{table.model.__name__}.{name} needs a line of documentation under it"
    heading = f"## `{table.heading}`\n" if table.path else ""
    section = toml_reference.reference(model).partition(heading)[2] if heading else (
        toml_reference.reference(model))  # fmt: skip
    assert f"**`{name}`**\n: " in section
    assert written in section


@pytest.mark.parametrize("model", [StudySpec, OwnFile])
def test_every_field_of_a_model_is_a_key_or_a_table(model):
    found = {table.path.split(".")[0] for table in toml_reference.tables(model)}
    found |= {name for name, _ in toml_reference.keys(model)}
    assert set(model.model_fields) <= found


def test_limits_defaults_and_choices_are_written_out():
    written = toml_reference.reference(StudySpec)
    assert "**`trials`**\n: whole number at least 1, at most 100000, **required**.<br>" in written
    assert "number above 0.0, below 1.0, by default `0.25`" in written
    assert '`"keep"` or `"drop_unstated"` or `"drop"`, by default `"drop_unstated"`' in written


def test_every_parameter_of_the_search_is_explained():
    rows = toml_reference.parameters().splitlines()[2:]
    assert len(rows) == len(PARAMETERS)
    assert all(row.split("|")[3].strip() for row in rows)


def test_every_command_has_an_example_in_its_reference():
    sections = re.split(r"^##+ ", command_line.reference(), flags=re.MULTILINE)[1:]
    found = {part.splitlines()[0]: part for part in sections}
    assert {f"ecgopt {verb}" for verb in VERBS} <= set(found)
    lacking = [name for name, part in found.items() if "Example: `" not in part]
    assert [
        name for name in lacking if not any(other.startswith(f"{name} ") for other in found)
    ] == []


def test_every_room_of_the_package_has_its_page():
    rooms = {path.parent.name for path in (ROOT / "ecgopt").glob("*/__init__.py")} - {"cli"}
    assert {path.stem for path in (ROOT / "docs/reference/api").glob("*.md")} >= rooms
    assert "ecgopt.data.splits" in list(modules("ecgopt.data"))
