"""`ecgopt run` and `ecgopt worker`: the whole of a study file, and one worker's share of it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.tuning.workspace import Workspace
    from ecgopt.workers.setup import OpenComparison


def run(
    study: Path,
    *,
    workers: int | None = None,
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
        workers: Worker processes, one compute thread each; by default one per core.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of data, checkpoints and predictions; by default $ECGOPT_WORKSPACE or
            storage.
        out: Folder of the report; by default out/NAME.
        audit: Train this many of each study's best pruned trials to their end, beside the budget,
            to see what pruning threw away; also for a study that is finished.
    """
    import os

    from ecgopt.cli.live import LiveProgress
    from ecgopt.cli.opening import chosen_workspace, open_study
    from ecgopt.tuning.address import storage_url
    from ecgopt.workers.local import LocalWorkers, wait_until_done
    from ecgopt.workers.progress import read_progress
    from ecgopt.workers.setup import add_work

    count = workers if workers is not None else len(os.sched_getaffinity(0))
    _check_workers(count)
    place = chosen_workspace(workspace)
    with LiveProgress() as live:
        opened = open_study(study, place, storage, n_processes=count, on_progress=live.preparing)
        spec, database = opened.spec, opened.database
        if audit:
            add_work(database, spec.with_audit(audit))

        def is_finished() -> bool:
            progress = read_progress(database, spec)
            live.show(progress)
            return progress.is_finished

        if not is_finished():
            with LocalWorkers(
                study_file=study,
                workspace=place.root,
                database=database,
                url=storage_url(storage, place.sqlite_file),
                log_folder=place.logs(spec.name),
                n_workers=count,
            ) as local:
                wait_until_done(local, is_finished)
    _conclude(opened, place, storage, out or Path("out") / spec.name)


def worker(
    study: Path,
    *,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Work on a study's items until none is left; start as many as you like, anywhere.

    SIGTERM: finish the epoch, save, give the item back and leave.

    Example: `ECGOPT_STORAGE=postgresql+psycopg://me@db/ecg ecgopt worker studies/demo.toml`

    Args:
        study: Study file.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of data, checkpoints and predictions, shared by all workers; by default
            $ECGOPT_WORKSPACE or storage.
    """
    import logging
    import os
    import threading

    from ecgopt.cli.opening import chosen_workspace
    from ecgopt.cli.work import stop_on_signals, work
    from ecgopt.workers.local import OWNER_VARIABLE

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    stop = threading.Event()
    stop_on_signals(stop)
    owner = os.environ.get(OWNER_VARIABLE)
    work(study, chosen_workspace(workspace).root, stop=stop, storage=storage, owner=owner)


def _conclude(opened: "OpenComparison", place: "Workspace", storage: str | None, out: Path) -> None:
    from rich.console import Console

    from ecgopt.analysis.conclude import conclude
    from ecgopt.analysis.evidence_store import load_evidence
    from ecgopt.errors import UserError
    from ecgopt.report.terminal import verdict_lines, verdict_table
    from ecgopt.report.write import write_conclusions
    from ecgopt.tuning.address import storage_url

    evidence = load_evidence(opened.spec, place, storage_url(storage, place.sqlite_file))
    if not evidence.finals:
        reasons = "; ".join(
            f"{item['item']}: {item['detail'][-200:]}" for item in evidence.set_aside
        )
        raise UserError(
            f"study {opened.spec.name!r} ended without a final fit: {reasons or 'no item is done'}"
        )
    conclusions = conclude(evidence, place.root)
    paths = write_conclusions(conclusions, out)
    console = Console()
    console.print(verdict_table(conclusions))
    for line in verdict_lines(conclusions):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {paths.html}", soft_wrap=True, highlight=False, markup=False)


def _check_workers(count: int) -> None:
    from ecgopt.errors import UserError

    if count < 1:
        raise UserError(f"`workers >= 1` must hold, but got {count}")
