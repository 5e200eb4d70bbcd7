"""`ecgopt run`: the whole of a study file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ecgopt.cli.options import DEFAULT_PLACE, FLAT, ExistingFile, PlaceOptions
from ecgopt.launchers.contract import Resources
from ecgopt.launchers.local import LocalLauncher

if TYPE_CHECKING:
    from ecgopt.api import Comparison

_DEFAULT_RESOURCES, _DEFAULT_LAUNCHER = Resources(), LocalLauncher()


def run(
    study: ExistingFile,
    *,
    resources: Annotated[Resources, FLAT] = _DEFAULT_RESOURCES,
    launcher: Annotated[LocalLauncher, FLAT] = _DEFAULT_LAUNCHER,
    place: PlaceOptions = DEFAULT_PLACE,
    out: Path | None = None,
    audit: int = 0,
) -> None:
    """Run everything a study file asks for, and report the verdict.

    Finished work is not repeated. After an interruption, run the same command again to resume.

    Example: `ecgopt run studies/demo.toml --workers 2`

    Args:
        study: Study file.
        out: Folder of the report; by default out/NAME.
        audit: Train this many of each study's best pruned trials to their end, outside the budget,
            to see what pruning threw away; also for a study that is finished.
        resources: What each worker gets.
        launcher: How workers run on this machine.
        place: Where the database and the files are.
    """
    import ecgopt
    from ecgopt.cli.live import LiveProgress

    comparison = ecgopt.open(study, place.storage, place.workspace)
    with LiveProgress() as live:
        _stop_on_signals(launcher)
        comparison.run(
            resources=resources,
            launcher=launcher,
            audit=audit,
            on_prepare=live.preparing,
            on_progress=live.show,
            on_look=live.line,
        )
    _conclude(comparison, out or Path("out") / comparison.spec.name)


def _stop_on_signals(launcher: LocalLauncher) -> None:
    """Let Ctrl-C and SIGTERM say immediately what happens; a second one ends the workers."""
    import os
    import signal

    from ecgopt.cli.worker_process import say_stopping

    asked: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if asked:
            launcher.kill_processes()
            os._exit(128 + signal.SIGINT)
        asked.append(number)
        say_stopping(len(launcher.slots))
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _conclude(comparison: "Comparison", out: Path) -> None:
    from ecgopt.cli.output import print_lines, print_table
    from ecgopt.errors import UserError
    from ecgopt.report.terminal import verdict_lines, verdict_table
    from ecgopt.report.write import write_report

    with comparison.concluded() as (conclusions, _):
        evidence = conclusions.evidence
        if not evidence.finals:
            reasons = "; ".join(
                f"{item['item']}: {item['detail'][-200:]}" for item in evidence.set_aside
            )
            raise UserError(
                f"study {comparison.spec.name!r} ended without a final fit: "
                f"{reasons or 'no item is done'}"
            )
        paths = write_report(conclusions, out)
    print_table(verdict_table(conclusions), markup=True)
    print_lines(
        *verdict_lines(conclusions),
        f"report: {paths.html}",
        "next: open the report in a browser; see all trials with `ecgopt dashboard`; share the "
        f"evidence with `ecgopt export {comparison.study_file} {comparison.spec.name}.zip`",
    )
    if evidence.set_aside:
        first = evidence.set_aside[0]
        raise UserError(
            f"{len(evidence.set_aside)} items failed, such as {first['item']} ({first['cause']}: "
            f"{_last_line(first['detail'])}): fix the cause, then `ecgopt study retry "
            f"{comparison.study_file}` and `ecgopt run` again"
        )


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no details"
