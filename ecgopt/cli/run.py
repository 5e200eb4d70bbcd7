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
    """
    import os

    from ecgopt.cli.live import LiveProgress
    from ecgopt.tuning.storage import storage_url
    from ecgopt.workers.local import LocalWorkers, wait_until_done
    from ecgopt.workers.progress import read_progress

    count = workers if workers is not None else len(os.sched_getaffinity(0))
    _check_workers(count)
    place = _workspace(workspace)
    with LiveProgress() as live:
        opened = _open(study, place, storage, n_processes=count, live=live)
        spec, database = opened.spec, opened.database

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
    import signal
    import threading

    import torch

    from ecgopt.analysis.final import FinalJob
    from ecgopt.tuning.arm import ArmRuns
    from ecgopt.workers.jobs import PretrainJob, TrialJob, choose_device
    from ecgopt.workers.local import OWNER_VARIABLE
    from ecgopt.workers.worker import Worker, WorkerSettings, new_owner

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(143)  # a second SIGTERM: at once; the lease ends by itself
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    torch.set_num_threads(1)
    device = choose_device()
    opened = _open(study, _workspace(workspace), storage, n_processes=1, live=None)
    arms = ArmRuns(opened.spec, opened.workspace, opened.data, device)
    database = opened.database
    Worker(
        database=database,
        handlers={
            "pretrain": PretrainJob(arms),
            "trial": TrialJob(database, arms),
            "final": FinalJob(database, arms),
        },
        settings=WorkerSettings(
            comparison=opened.spec.name,
            lease_seconds=opened.spec.workers.lease_seconds,
            max_losses=opened.spec.workers.max_losses,
            device=str(device),
        ),
        owner=os.environ.get(OWNER_VARIABLE) or new_owner(),
        stop_event=stop,
    ).work()


def _open(
    study: Path,
    place: "Workspace",
    storage: str | None,
    *,
    n_processes: int,
    live: "object | None",
) -> "OpenComparison":
    from ecgopt.cli.live import LiveProgress
    from ecgopt.errors import StorageError
    from ecgopt.tuning.storage import open_database, quiet_optuna, storage_url
    from ecgopt.tuning.study_file import load_spec
    from ecgopt.workers.setup import open_comparison

    spec = load_spec(study)
    quiet_optuna()
    try:
        place.root.mkdir(parents=True, exist_ok=True)
        database = open_database(storage_url(storage, place.sqlite_file))
    except OSError as error:
        raise StorageError(
            f"the workspace {place.root} must be writable, but: {error.strerror}: choose another "
            "with --workspace"
        ) from error
    return open_comparison(
        spec,
        database,
        place,
        n_processes=n_processes,
        on_progress=live.preparing if isinstance(live, LiveProgress) else None,
    )


def _conclude(opened: "OpenComparison", place: "Workspace", storage: str | None, out: Path) -> None:
    from rich.console import Console

    from ecgopt.analysis.conclude import conclude
    from ecgopt.analysis.evidence_store import load_evidence
    from ecgopt.errors import UserError
    from ecgopt.report.terminal import verdict_lines, verdict_table
    from ecgopt.report.write import write_conclusions
    from ecgopt.tuning.storage import storage_url

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


def _workspace(option: Path | None) -> "Workspace":
    from ecgopt.tuning.workspace import Workspace, default_workspace

    return default_workspace() if option is None else Workspace(option)


def _check_workers(count: int) -> None:
    from ecgopt.errors import UserError

    if count < 1:
        raise UserError(f"`workers >= 1` must hold, but got {count}")
