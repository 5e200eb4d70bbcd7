"""`ecgopt run`: the whole of a study file."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.comparison.opening import OpenComparison
    from ecgopt.workspace import Workspace


def run(  # noqa: PLR0913 - one argument per option
    study: Path,
    *,
    workers: int | None = None,
    gpus: str | None = None,
    per_gpu: int = 1,
    storage: str | None = None,
    workspace: Path | None = None,
    out: Path | None = None,
    audit: int = 0,
) -> None:
    """Do everything a study file asks for: prepare, pre-train, tune, test, report.

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

    from ecgopt.cli.host import choose_slots, host_workers
    from ecgopt.cli.live import LiveProgress
    from ecgopt.cli.opening import chosen_workspace, open_study
    from ecgopt.comparison.opening import add_work
    from ecgopt.comparison.progress import read_progress
    from ecgopt.errors import UserError
    from ecgopt.launchers.local import wait_until_done

    slots = choose_slots(gpus, per_gpu, workers)
    place = chosen_workspace(workspace)
    # As Ctrl-C does: the workers save and give their items back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with LiveProgress() as live:
        opened = open_study(
            study, place, storage, n_processes=len(slots), on_progress=live.preparing
        )
        spec, database = opened.spec, opened.database
        if audit:
            add_work(database, spec.with_audit(audit))

        def is_finished() -> bool:
            progress = read_progress(database, spec)
            live.show(progress)
            return progress.is_finished

        if not is_finished():
            with host_workers(study, opened, storage, slots) as local:
                wait_until_done(local, is_finished)
            if not is_finished():
                raise UserError(
                    f"the workers of study {spec.name!r} were asked to stop before its end: the "
                    "same command continues"
                )
    _conclude(opened, place, storage, out or Path("out") / spec.name)


def _conclude(opened: "OpenComparison", place: "Workspace", storage: str | None, out: Path) -> None:
    from rich.console import Console

    from ecgopt.analysis.conclude import conclude
    from ecgopt.comparison.evidence import load_evidence
    from ecgopt.database.url import storage_url
    from ecgopt.errors import UserError
    from ecgopt.report.terminal import verdict_lines, verdict_table
    from ecgopt.report.write import write_report

    evidence = load_evidence(opened.spec, place, storage_url(storage, place.sqlite_file))
    if not evidence.finals:
        reasons = "; ".join(
            f"{item['item']}: {item['detail'][-200:]}" for item in evidence.set_aside
        )
        raise UserError(
            f"study {opened.spec.name!r} ended without a final fit: {reasons or 'no item is done'}"
        )
    conclusions = conclude(evidence, place.root)
    paths = write_report(conclusions, out)
    console = Console()
    console.print(verdict_table(conclusions))
    for line in verdict_lines(conclusions):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {paths.html}", soft_wrap=True, highlight=False, markup=False)
