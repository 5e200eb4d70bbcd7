"""A newcomer's first hour: every command of README and tutorial, in order, in a fresh clone.

Run by `make docs-test`. A block is left out only where the Markdown says so in a comment before it,
`<!-- not run: reason -->`; `<!-- file: NAME -->` saves the block that follows under that name.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from documents import ROOT, Block, blocks

PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")
LIMIT_SECONDS = 1800.0
"""For each command by itself: the longest installs torch, on a machine that may have other work."""
_LOOK_SECONDS = 0.5
_MARK = "command echo"
"""Tells the script's own lines from those of the pages."""
_OWN = ("ECGOPT_", "VIRTUAL_ENV", "PYTHON", "MAKE", "MFLAGS")
"""Variables that a newcomer would not have set; those of `make` belong to the calling one."""


class TooLong(Exception):
    """A command went on for longer than its limit."""


def script(announcements: int) -> str:
    """Return one shell script that does what the pages tell a reader to do.

    Args:
        announcements: File descriptor to which the shell writes the first line of each command
            before it begins.
    """
    shown = [block for page in PAGES for block in blocks(page)]
    return "\n".join(
        [
            "set -euo pipefail",
            "announce() {",
            "  local command=${BASH_COMMAND%%$'\\n'*}",
            f'  [[ $command == "{_MARK}"* ]] && return',
            f'  echo "+ $command"; echo "$command" >&{announcements}',
            "}",
            "trap announce DEBUG",
            *(_lines(block) for block in shown),
        ]
    )


def _lines(block: Block) -> str:
    if block.not_run is not None:
        return f"{_MARK} '== {block}: not run, {block.not_run}'"
    if block.file is not None:
        save = f"cat > '{block.file}' <<'END OF FILE'\n{block.text}END OF FILE"
        return f"{_MARK} '== {block}: {block.file}'\n{save}"
    if block.language != "sh":
        return ""
    return f"{_MARK} '== {block}'\n{block.text}"


def main() -> int:
    """Clone the last commit into a temporary folder and run the script there."""
    if subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True
    ).stdout:
        _say("note: what is not committed is not in the clone")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        clone = Path(folder) / "ecgopt"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        return _run(clone, environment)


def _run(folder: Path, environment: dict[str, str]) -> int:
    """Run the script to its end; whatever stops this process stops all that the script started."""
    signal.signal(signal.SIGTERM, _leave)
    reading, writing = os.pipe()
    with subprocess.Popen(
        ["bash", "-c", script(writing)],
        cwd=folder,
        env=environment,
        start_new_session=True,
        pass_fds=(writing,),
    ) as shell:
        try:
            times = list(_times(shell, reading))
        except TooLong as error:
            _say(f"not done after {LIMIT_SECONDS:.0f} s: {error}")
            return 1
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGTERM)
    _say("seconds  command")
    for command, seconds in times:
        _say(f"{seconds:7.1f}  {command}")
    _say("every command worked" if shell.returncode == 0 else f"this failed: {times[-1][0]}")
    return shell.returncode


def _times(shell: subprocess.Popen[bytes], reading: int) -> Iterator[tuple[str, float]]:
    """Yield each command and the seconds it took, as soon as it has ended.

    Raises:
        TooLong: a command is over its limit.
    """
    command, began = "", time.monotonic()
    while True:
        ready, _, _ = select.select([reading], [], [], _LOOK_SECONDS)
        now = time.monotonic()
        if ready:
            # Lines this short are written whole or not at all.
            for line in os.read(reading, select.PIPE_BUF).decode().splitlines():
                if command:
                    yield command, now - began
                command, began = line, now
        elif shell.poll() is not None:
            yield command, now - began
            return
        elif now - began > LIMIT_SECONDS:
            raise TooLong(command)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _leave(_signal: int, _frame: object) -> None:
    # `timeout` sends its signal twice; the second must not break off the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
