"""A reference of every command, written by cyclopts from the commands' own docstrings."""

from cyclopts.docs.markdown import generate_markdown_docs

from ecgopt.cli.app import build_app


def reference() -> str:
    """Return Markdown with one section for each command."""
    return generate_markdown_docs(
        build_app(), generate_toc=False, no_root_title=True, heading_level=2
    )
