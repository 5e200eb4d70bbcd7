"""The project's Markdown files: their code blocks and their links, as a reader meets them.

Standard library only: `tests/support/newcomer.py` runs on a machine where nothing is installed yet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<language>[\w{}-]*)\n(?P<text>.*?)^(?P=fence)\s*$", re.M | re.S
)
_REMARK = re.compile(r"<!-- (?P<kind>file|not run): (?P<value>[^>]+) -->\s*\Z")
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    path: Path
    line: int
    language: str
    text: str
    file: str | None
    """Name under which the reader saves the block."""
    not_run: str | None
    """Why the block is not run by `make docs-test`."""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def markdown_files() -> list[Path]:
    """Return every Markdown file of the project, generated and installed ones left out."""
    kept = [*ROOT.glob("*.md"), *(ROOT / "storage").glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(kept)


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a file, each with the remark in the comment just before it."""
    text = path.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        remark = _REMARK.search(text[: found.start()])
        said = {remark["kind"]: remark["value"]} if remark else {}
        yield Block(
            path=path,
            line=text.count("\n", 0, found.start()) + 1,
            language=found["language"],
            text=found["text"],
            file=said.get("file"),
            not_run=said.get("not run"),
        )


def commands(block: Block) -> Iterator[str]:
    """Yield the `ecgopt` command lines of a shell block, comments and continuations resolved."""
    for line in block.text.replace("\\\n", " ").splitlines():
        command = re.sub(r"\s+#.*$", "", line).strip()
        command = re.sub(r"^(?:[A-Z_]+=\S+\s+)*(?:\.venv/bin/)?", "", command)
        if command.startswith("ecgopt "):
            yield command


def links(path: Path) -> Iterator[str]:
    """Yield the targets of a file's links that lead to other files or headings of the project."""
    for found in _LINK.finditer(_FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" not in found["target"] and not found["target"].startswith("mailto:"):
            yield found["target"]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub and the site give to a file's headings."""
    return {
        re.sub(r"[^\w\- ]", "", found["text"].lower()).replace(" ", "-")
        for found in _HEADING.finditer(_FENCE.sub("", path.read_text(encoding="utf-8")))
    }
