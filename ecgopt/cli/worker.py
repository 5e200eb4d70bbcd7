"""`ecgopt worker` and `ecgopt workers`: the workers of a host, and asking workers to stop."""

from typing import Annotated

from cyclopts import App

from ecgopt.cli.options import DEFAULT_PLACE, FLAT, ExistingFile, PlaceOptions
from ecgopt.launchers.contract import Resources
from ecgopt.launchers.local import LocalLauncher

app = App(name="workers", help="Ask workers to stop.")

_DEFAULT_RESOURCES, _DEFAULT_LAUNCHER = Resources(), LocalLauncher()


def worker(
    study: ExistingFile,
    *,
    resources: Annotated[Resources, FLAT] = _DEFAULT_RESOURCES,
    launcher: Annotated[LocalLauncher, FLAT] = _DEFAULT_LAUNCHER,
    stop_code: int = 0,
    join_workspace: bool = False,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Run a study's workers on this host, one process per GPU or core.

    Start it on as many hosts as you like. A process that crashes, hangs or runs out of memory is
    replaced, and the cause is recorded with its work item. After SIGTERM, workers finish the epoch,
    save and give their items back. A second SIGTERM kills them immediately.

    Example: `ecgopt worker studies/demo.toml --gpus 0,1 --gpus-per-worker 0.5`

    Args:
        study: Study file.
        stop_code: Exit code after SIGTERM; use non-zero in a Kubernetes Job so that it is
            restarted.
        join_workspace: Accept a workspace that is a true copy of the study's own; its weights and
            prepared data must be equal.
        resources: What each worker gets.
        launcher: How workers run on this machine.
        place: Where the database and the files are.
    """
    import sys
    import threading

    from ecgopt.cli.output import print_lines
    from ecgopt.cli.worker_process import say_stopping, stop_on_signals
    from ecgopt.comparison.open_study import open_study
    from ecgopt.launchers.contract import Launch
    from ecgopt.launchers.launch import wait_until_done
    from ecgopt.launchers.remote_worker import log_to_stderr
    from ecgopt.workspace import chosen_workspace

    log_to_stderr()
    workspace = chosen_workspace(place.workspace)
    slots = launcher.choose_slots(resources)
    opened = open_study(
        study, workspace, place.storage, n_processes=len(slots), join_workspace=join_workspace
    )
    stop = threading.Event()
    stop_on_signals(
        stop,
        at_first=lambda: say_stopping(len(launcher.slots)),
        immediately=launcher.kill_processes,
    )
    launcher.submit(Launch.of(study, opened.spec, workspace, place.storage), resources)
    try:
        wait_until_done(launcher, stop.is_set, limit_minutes=resources.time_limit_minutes)
    finally:
        launcher.stop()
    if stop.is_set():
        print_lines("stopped: run the same command again to resume")
        sys.exit(stop_code)
    print_lines(f"no worker is left on this machine; next: ecgopt status {study}")


@app.command
def stop(
    study: ExistingFile, *, host: str | None = None, place: PlaceOptions = DEFAULT_PLACE
) -> None:
    """Ask the workers of a study to save, give their items back and leave.

    A worker notices at its next renewal, after at most a third of the lease, and leaves after its
    epoch.

    Example: `ecgopt workers stop studies/demo.toml --host node7`

    Args:
        study: Study file.
        host: Only the workers of this host.
        place: Where the database and the files are.
    """
    begun = place.open_begun(study)

    from ecgopt.cli.output import print_lines
    from ecgopt.queue.heartbeats import request_stop

    count = request_stop(begun.database, begun.spec.name, host)
    where = f" on {host}" if host else ""
    print_lines(f"asked {count} workers{where} to stop")
