"""A reference of every command, written by cyclopts from the commands' own docstrings."""

from cyclopts.docs.markdown import generate_markdown_docs

from ecgopt.cli.app import VERBS, build_app


def reference() -> str:
    """Return Markdown with one section for each command."""
    app = build_app()
    for verb in VERBS:
        app[verb]  # imports the command, whose summary the list of commands then shows
    return generate_markdown_docs(app, generate_toc=False, no_root_title=True, heading_level=2)
