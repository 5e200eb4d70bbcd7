"""Fills pages with what is generated from the code: `<!-- generated: KIND ARGUMENT -->`."""

import re
from typing import TYPE_CHECKING

import api
import command_line
import toml_reference

from ecgopt.data.sources.own_files import OwnFile
from ecgopt.study_file.spec import StudySpec

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

_MARK = re.compile(r"<!-- generated: ([\w-]+) ?([\w.]*) -->")
_GENERATORS = {
    "study-file": lambda _: toml_reference.reference(StudySpec),
    "parameters": lambda _: toml_reference.parameters(),
    "own-data-file": lambda _: toml_reference.reference(OwnFile),
    "commands": lambda _: command_line.reference(),
    "api": api.reference,
}
_OUTSIDE = re.compile(r"\]\((?:\.\./)+(storage/README|CHANGELOG|CONTRIBUTING)\.md")
_INCLUDED_BY = {
    "storage/README": "shared-database",
    "CHANGELOG": "changes",
    "CONTRIBUTING": "contributing",
}
"""Pages that include a file from outside the documentation, which links mean by its own path."""


def setup(app: "Sphinx") -> "ExtensionMetadata":
    """Register what is generated with Sphinx."""
    app.connect("source-read", _fill)
    app.connect("autodoc-skip-member", api.skip_member)
    texts = api.AttributeTexts()
    app.connect("autodoc-process-docstring", texts.set_aside, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", texts.put_back, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(_app: "Sphinx", _page: str, source: list[str]) -> None:
    text = _MARK.sub(lambda mark: _GENERATORS[mark[1]](mark[2]), source[0])
    source[0] = _OUTSIDE.sub(lambda link: f"](/{_INCLUDED_BY[link[1]]}.md", text)
