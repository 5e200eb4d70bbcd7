"""Prints what commands say: lines that are never wrapped, and tables that fit the terminal."""

import codecs
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_ASCII = {"−": "-", "–": "-", "—": "-", "±": "+/-", "→": "->", "≈": "~", "×": "x", "…": "..."}
_WIDE = 10_000


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 record`, `1,250 records`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def print_lines(*lines: str) -> None:
    """Print lines as they are: without wrapping, colours or markup."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def print_table(table: "RenderableType", *, markup: bool = False) -> None:
    """Print a table of rich; `markup` interprets `[bold]` and the like in its cells."""
    console = open_console()
    with console.capture() as text:
        console.print(table, markup=markup)
    sys.stdout.write(text.get())
    sys.stdout.flush()


def open_console() -> "Console":
    """Return a console that wraps lines for a terminal and never for a file or a pipe.

    Control characters are printed as escapes.
    """
    from rich.console import Console

    from ecgopt.errors import printable

    class PipeConsole(Console):
        def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 as the base class
            texts = [printable(each) if isinstance(each, str) else each for each in objects]
            super().print(*texts, **options)

        def on_broken_pipe(self) -> None:
            # Rich would end the process with 1, although nothing is wrong.
            raise BrokenPipeError

    # No markup: names and reasons come from files and may hold brackets.
    console = PipeConsole(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return PipeConsole(highlight=False, markup=False, emoji=False, width=_WIDE, soft_wrap=True)


def replace_what_cannot_be_encoded() -> None:
    """Let standard output and error write ASCII where their encoding lacks a character."""

    def in_ascii(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        text = error.object[error.start : error.end]
        return "".join(_ASCII.get(character, "?") for character in text), error.end

    codecs.register_error("in_ascii", in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="in_ascii")
