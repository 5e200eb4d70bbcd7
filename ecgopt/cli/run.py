"""`ecgopt run`: the whole of a study file."""

from pathlib import Path
from typing import TYPE_CHECKING

from ecgopt.cli.options import StudyFile

if TYPE_CHECKING:
    from ecgopt.api import Comparison


def run(  # noqa: PLR0913 - one argument per option
    study: StudyFile,
    *,
    workers: int | None = None,
    gpus: str | None = None,
    per_gpu: int = 1,
    storage: str | None = None,
    workspace: Path | None = None,
    out: Path | None = None,
    audit: int = 0,
) -> None:
    """Run everything a study file asks for, and report the verdict.

    What is done already is not done again; after an interruption the same command continues.

    Example: `ecgopt run studies/demo.toml --workers 2`

    Args:
        study: Study file.
        workers: Worker processes, one compute thread each; by default one per core, or per-gpu
            for each GPU.
        gpus: all, none, or the indexes of some, as nvidia-smi counts; by default all there are.
        per_gpu: Processes that share a GPU.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of data, checkpoints and predictions; by default $ECGOPT_WORKSPACE or
            storage.
        out: Folder of the report; by default out/NAME.
        audit: Train this many of each study's best pruned trials to their end, beside the budget,
            to see what pruning threw away; also for a study that is finished.
    """
    import signal

    import ecgopt
    from ecgopt.cli.live import LiveProgress

    comparison = ecgopt.open(study, storage, workspace)
    # As Ctrl-C does: the workers save and give their items back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with LiveProgress() as live:
        comparison.run(
            workers=workers,
            gpus=gpus,
            per_gpu=per_gpu,
            audit=audit,
            on_prepare=live.preparing,
            on_progress=live.show,
        )
    _conclude(comparison, out or Path("out") / comparison.spec.name)


def _conclude(comparison: "Comparison", out: Path) -> None:
    from rich.console import Console

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
    console = Console()
    console.print(verdict_table(conclusions))
    for line in verdict_lines(conclusions):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {paths.html}", soft_wrap=True, highlight=False, markup=False)
