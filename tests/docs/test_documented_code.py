"""Study files and commands in the documentation are ones that the code accepts."""

import shlex
import tomllib

import pytest
from documents import ROOT, blocks, commands, markdown_files
from pydantic import TypeAdapter

from ecgopt.cli.app import build_app
from ecgopt.data.sources.own_files import own_label_set, own_source
from ecgopt.models.cards import Card
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec

BLOCKS = [block for path in markdown_files() for block in blocks(path)]
TOML = [block for block in BLOCKS if block.language == "toml"]
MODULES = [block for block in BLOCKS if block.language == "python" and block.file]
COMMANDS = [
    pytest.param(command, id=f"{block}: {command}")
    for block in BLOCKS
    if block.language == "sh"
    for command in commands(block)
]


@pytest.mark.parametrize("block", TOML, ids=str)
def test_a_toml_block_is_accepted_by_the_loader_of_its_kind(block, tmp_path, monkeypatch):
    for module in MODULES:
        if module.path == block.path:
            (tmp_path / module.file).write_text(module.text)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "block.toml"
    path.write_text(block.text)
    content = tomllib.loads(block.text)
    if "records" in content:
        own_source(path)
        own_label_set(path)
    elif "budget" in content:
        load_spec(path)
    else:  # some tables of a study file or a card
        known = Card.__annotations__ | StudySpec.__annotations__
        for key, value in content.items():
            TypeAdapter(known[key]).validate_python(value)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_and_its_options_exist(command, tmp_path, monkeypatch):
    words = shlex.split(command.partition("|")[0].partition(">")[0].partition("&")[0])[1:]
    monkeypatch.chdir(tmp_path)
    for name in (word for word in words if word.endswith((".toml", ".zip"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()  # the reader of the page has it
    if words != ["--help"]:
        build_app().parse_args(words, exit_on_error=False, print_error=False)


def test_readme_and_tutorial_hold_study_files_and_commands():
    of = {page: [b.language for b in BLOCKS if b.path == ROOT / page]
          for page in ("README.md", "docs/tutorial.md")}  # fmt: skip
    assert all({"toml", "sh"} <= set(languages) for languages in of.values()), of
