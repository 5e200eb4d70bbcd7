"""The command `ecgopt`: verbs, exit codes and nothing else.

Verbs live in one file a group and import what they need inside their functions, so that `--help`
and `--version` answer immediately.
"""

import ast
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

VERBS = {
    "run": "ecgopt.cli.run:run",
    "launch": "ecgopt.cli.launch:app",
    "worker": "ecgopt.cli.worker:worker",
    "workers": "ecgopt.cli.worker:app",
    "status": "ecgopt.cli.status:status",
    "trials": "ecgopt.cli.trials:trials",
    "dashboard": "ecgopt.cli.dashboard:dashboard",
    "report": "ecgopt.cli.report:report",
    "answer": "ecgopt.cli.report:answer",
    "export": "ecgopt.cli.report:export",
    "verify": "ecgopt.cli.report:verify",
    "merge": "ecgopt.cli.report:merge",
    "plan": "ecgopt.cli.report:plan",
    "storage": "ecgopt.cli.storage:app",
    "study": "ecgopt.cli.study:app",
    "data": "ecgopt.cli.data:app",
    "models": "ecgopt.cli.models:app",
}
"""Every verb or group and where it is; imported only when it is called."""

_HELP_FLAGS = ("-h", "--help")

_EXIT_USER_ERROR = 2
_EXIT_MACHINE_ERROR = 3
_EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    Exit codes: 0 success, 2 something the user must fix, 3 a machine that cannot work, 1 a bug,
    130 interrupted.
    """
    arguments = _without_insecure(sys.argv[1:])
    if not arguments or arguments[0] in _HELP_FLAGS:
        sys.stdout.write(_overview())
        return
    if arguments == ["--version"]:
        from ecgopt import __version__

        sys.stdout.write(f"ecgopt {__version__}\n")
        return
    sys.exit(_run(arguments))


def summary(verb: str) -> str:
    """Return the first line of a verb's own help, read from its source without importing it."""
    module, _, name = VERBS[verb].partition(":")
    source = Path(__file__).with_name(f"{module.rpartition('.')[2]}.py").read_text()
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef() if node.name == name:
                return (ast.get_docstring(node) or "").partition("\n")[0]
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Call(keywords=options)):
                if found == name:
                    texts = [ast.literal_eval(o.value) for o in options if o.arg == "help"]
                    return str(texts[0])
    raise LookupError(f"{VERBS[verb]} is not in {module}")


def _without_insecure(arguments: list[str]) -> list[str]:
    # One rule for every command that opens the database, and for the processes it starts.
    if "--insecure" in arguments:
        os.environ["ECGOPT_INSECURE"] = "1"
    return [argument for argument in arguments if argument != "--insecure"]


def _run(arguments: list[str]) -> int:
    from ecgopt.cli.output import replace_what_cannot_be_encoded
    from ecgopt.errors import MachineError, UserError

    replace_what_cannot_be_encoded()
    try:
        build_app()(arguments)
        sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return _EXIT_USER_ERROR
    except MachineError as error:
        sys.stderr.write(f"error: {error}\n")
        return _EXIT_MACHINE_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: run the same command again to resume\n")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has left. Python itself would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def build_app() -> "App":
    """Return the application with all commands, none of them imported yet."""
    import cyclopts

    app = cyclopts.App(
        name="ecgopt", help="Fair studies of transfer learning in ECG diagnosis.",
        version_flags=[], result_action="return_value", suppress_keyboard_interrupt=False,
    )  # fmt: skip
    for name, target in VERBS.items():
        app.command(target, name=name)
    app.register_install_completion_command(
        help="Let the shell complete commands, options and their choices.\n\n"
        "Writes a script for bash, zsh, fish or PowerShell and names it in the shell's start-up "
        "file. Repeat it after an update.\n\n"
        "Example: `ecgopt --install-completion --shell bash`"
    )
    return app


def _overview() -> str:
    # Written by hand for speed: cyclopts and rich alone take longer than 0.1 s to import.
    width, wide = max(map(len, VERBS)), len("--install-completion")
    lines = [
        "usage: ecgopt COMMAND ...",
        "",
        "Fair studies of transfer learning against training from scratch in 12-lead ECG diagnosis.",
        "",
        "commands:",
        *(f"  {name:<{width}}  {summary(name)}" for name in VERBS),
        "",
        "options:",
        f"  {'--help':<{wide}}  Show this text, or after a command, its own.",
        f"  {'--version':<{wide}}  Show the version.",
        f"  {'--insecure':<{wide}}  Accept a database server on another host without TLS.",
        f"  {'--install-completion':<{wide}}  Let the shell complete commands and options.",
        "",
        "example: ecgopt run studies/demo.toml --workers 2",
    ]
    return "\n".join(lines) + "\n"
