"""Nothing in the Markdown files leads nowhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from documents import ROOT, anchors, blocks, links, markdown_files

PATH_IN_TEXT = re.compile(
    r"(?<![\w/.])(?:docs|ecgopt|tests|studies|storage|benchmarks)/[\w./-]+\.(?:py|md|toml|yaml)\b"
)
"""A file of the project named in running text."""


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


@named(markdown_files())
def test_every_relative_link_leads_to_a_file_and_a_heading_in_it(path):
    dead = []
    for target in links(path):
        name, _, anchor = unquote(target).partition("#")
        found = (path.parent / name).resolve() if name else path
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append(target)
    assert dead == []


@named(markdown_files())
def test_every_file_of_the_project_named_in_the_text_exists(path):
    named_files = PATH_IN_TEXT.findall(path.read_text(encoding="utf-8"))
    of_the_reader = {block.file for block in blocks(path)}
    missing = [name for name in named_files if not Path(ROOT, name).exists()]
    assert set(missing) - of_the_reader == set()
