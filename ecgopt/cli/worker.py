"""`ecgopt worker` and `ecgopt workers`: the workers of a host, and asking workers to stop."""

from pathlib import Path

from cyclopts import App

from ecgopt.cli.options import StudyFile

app = App(name="workers", help="Ask workers to stop.")


def worker(  # noqa: PLR0913 - one argument per option
    study: StudyFile,
    *,
    gpus: str | None = None,
    per_gpu: int = 1,
    workers: int | None = None,
    gpu_memory: int = 2000,
    grace: float = 60.0,
    stop_code: int = 0,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Run a study's workers on this host, one process per GPU or core.

    Start it on as many hosts as you like. A process that crashes, hangs or runs out
    of memory is replaced, and the cause is kept with its work item. SIGTERM: finish the epoch,
    save, give the items back and leave. A second SIGTERM: at once.

    Example: `ecgopt worker studies/demo.toml --gpus 0,1 --per-gpu 2`

    Args:
        study: Study file.
        gpus: all, none, or the indexes of some, as nvidia-smi counts; by default all there are.
        per_gpu: Processes that share a GPU.
        workers: Processes in all; by default one per core, or per-gpu for each GPU.
        gpu_memory: MiB that must be free on a GPU before a process starts there.
        grace: Seconds that processes have to leave before they are killed.
        stop_code: Exit code after SIGTERM; use non-zero in a Kubernetes Job so that it is
            restarted.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of data, checkpoints and predictions, shared by all workers; by default
            $ECGOPT_WORKSPACE or storage.
    """
    import logging
    import sys
    import threading

    from ecgopt.cli.work import stop_on_signals
    from ecgopt.comparison.open_study import open_study
    from ecgopt.launchers.host import choose_slots, host_workers
    from ecgopt.launchers.local import wait_until_done
    from ecgopt.workspace import chosen_workspace

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    slots = choose_slots(gpus, per_gpu, workers)
    opened = open_study(study, chosen_workspace(workspace), storage, n_processes=len(slots))
    stop = threading.Event()
    local = host_workers(study, opened, storage, slots, gpu_memory=gpu_memory, grace=grace)
    stop_on_signals(stop, at_once=local.kill_processes)
    with local:
        wait_until_done(local, stop.is_set)
    if stop.is_set():
        sys.exit(stop_code)


@app.command
def stop(
    study: StudyFile,
    *,
    host: str | None = None,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Ask the workers of a study to save, give their items back and leave.

    A worker notices at its next renewal, a third of the lease away, and leaves after its epoch.

    Example: `ecgopt workers stop studies/demo.toml --host node7`

    Args:
        study: Study file.
        host: Only the workers of this host.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console

    from ecgopt.comparison.open_study import open_begun
    from ecgopt.queue.heartbeats import request_stop

    begun = open_begun(study, storage, workspace)
    count = request_stop(begun.database, begun.spec.name, host)
    where = f" on {host}" if host else ""
    Console().print(f"asked {count} workers{where} to stop", highlight=False, markup=False)
