"""Idioms that readers of English as a second language stumble over stand in no page and message."""

import ast
import re

import pytest
from documents import ROOT, markdown_files

INSTEAD = {
    r"go(es)? on": "continue",
    r"went on": "continued",
    r"at once": "immediately",
    r"anew": "again",
    r"beside": "next to, or outside",
    r"of (its|their) own accord": "by itself",
    r"nobody": "no one",
    r"whoever": "the person who",
    r"mend(s|ed)?": "fix",
    r"shall": "must, or will",
    r"as ever": "as usual",
    r"belongs? into": "belongs in",
    r"hence": "so",
    r"speaks? no": "does not support",
    r"in vain": "without success",
    r"by and by": "gradually",
    r"lest": "so that not",
}
"""Banned, and what to write."""
BANNED = re.compile(rf"\b(?:{'|'.join(INSTEAD)})\b", re.IGNORECASE)
NOT_FOR_READERS = {ROOT / "docs" / "performance.md", ROOT / "docs" / "data.md"}
PAGES = [
    path
    for path in markdown_files()
    if path not in NOT_FOR_READERS and ROOT / "docs" / "decisions" not in path.parents
]
MODULES = sorted((ROOT / "ecgopt").rglob("*.py"))


def found(text):
    return [
        f"{match[0]!r} in {text[max(0, match.start() - 30) : match.end() + 30]!r}"
        for match in BANNED.finditer(text)
    ]


def messages(path):
    """Return every text of a module with a space in it; docstrings are for developers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = {
        id(statement.value)
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and " " in node.value
        and id(node) not in documented
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_no_banned_idiom(path):
    prose = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found(prose) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_has_a_banned_idiom(path):
    assert [hit for message in messages(path) for hit in found(message)] == []


@pytest.mark.parametrize(
    "text",
    [
        "It goes on where it stopped.",
        "Run it anew.",
        "Nobody saw it.",
        "what to mend",
        "It shall end.",
    ],
)
def test_a_banned_idiom_is_found(text):
    assert len(found(text)) == 1


@pytest.mark.parametrize("text", ["It continues.", "We recommend it.", "a marshalled list"])
def test_plain_words_are_not(text):
    assert found(text) == []
