"""A newcomer's first hour: every command of README and tutorial, in order, in a fresh clone.

Run by `make docs-test`. A block is left out only where the Markdown says so in a comment before it,
`<!-- not run: reason -->`; `<!-- file: NAME -->` saves the block that follows under that name.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from documents import ROOT, Block, blocks

PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")
_OWN = ("ECGOPT_", "VIRTUAL_ENV", "PYTHON", "MAKE", "MFLAGS")
"""Variables that a newcomer would not have set; those of `make` belong to the calling one."""


def script() -> str:
    """Return one shell script that does what the pages tell a reader to do."""
    shown = [block for page in PAGES for block in blocks(page)]
    return "\n".join(["set -euo pipefail", *(_lines(block) for block in shown)]) + "\n"


def _lines(block: Block) -> str:
    if block.not_run is not None:
        return f"echo '== {block}: not run, {block.not_run}'"
    if block.file is not None:
        save = f"cat > '{block.file}' <<'END OF FILE'\n{block.text}END OF FILE"
        return f"echo '== {block}: {block.file}'\n{save}"
    if block.language != "sh":
        return ""
    return f"echo '== {block}'\nset -x\n{block.text}{{ set +x; }} 2>/dev/null"


def main() -> int:
    """Clone the last commit into a temporary folder and run the script there."""
    if subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True
    ).stdout:
        sys.stdout.write("note: what is not committed is not in the clone\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        clone = Path(folder) / "ecgopt"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        sys.stdout.flush()
        code = _run(script(), clone, environment)
    sys.stdout.write("every command worked\n" if code == 0 else "a command failed\n")
    return code


def _run(text: str, folder: Path, environment: dict[str, str]) -> int:
    """Run a script to its end; whatever stops this process stops all that the script started."""
    signal.signal(signal.SIGTERM, _leave)
    with subprocess.Popen(
        ["bash", "-c", text], cwd=folder, env=environment, start_new_session=True
    ) as shell:
        try:
            return shell.wait()
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGTERM)


def _leave(_signal: int, _frame: object) -> None:
    # `timeout` sends its signal twice; the second must not break off the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
