"""One worker, composed of its handlers; `python -m ecgopt.cli.worker_process` runs it.

Launchers start this module as a process, or call
`work` in a process of the cluster. `ecgopt worker` starts, watches and replaces such processes.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ecgopt.errors import MachineError, UserError
from ecgopt.launchers.remote_worker import log_to_stderr, set_soon
from ecgopt.launchers.worker_process import EXIT_MACHINE_ERROR, OWNER_VARIABLE

_EXIT_USER_ERROR = 2
_EXIT_IMMEDIATELY = 143
_OPEN_RETRY_SECONDS = 600.0
"""Workers are started by the dozen, also while a server restarts or is short of connections."""


def main(arguments: list[str]) -> int:
    """Work until nothing is left, and return the exit code.

    Args:
        arguments: Study file, workspace, `supervised` where standard input is a pipe from the
            supervisor: its end says that the supervisor is gone; and `cuda` where only a GPU will
            do.
    """
    study, workspace, *options = arguments
    log_to_stderr()
    stop = threading.Event()
    stop_on_signals(stop)
    if "supervised" in options:
        # A batch system may warn all processes of a job with it; the supervisor acts on it.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        work(
            Path(study),
            Path(workspace),
            stop=stop,
            device="cuda" if "cuda" in options else None,
            owner=os.environ.get(OWNER_VARIABLE),
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return _EXIT_USER_ERROR
    except MachineError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_MACHINE_ERROR
    return 0


def work(
    study: Path,
    workspace: Path,
    *,
    stop: threading.Event,
    storage: str | None = None,
    device: str | None = None,
    owner: str | None = None,
) -> int:
    """Work on a study's items until none is left or `stop` is set; return how many were closed.

    Callable from any thread and any machine: it installs no signal handler and sets up no logging.
    When `stop` is set, the epoch is finished, saved, and the item given back before this returns.

    Args:
        study: Study file.
        workspace: Folder of data, checkpoints and predictions, shared by all workers of the study.
        stop: Set it from a signal handler or another thread to end cleanly.
        storage: Database URL; by default that of the environment (see `storage_url`), where a
            password is not seen by others.
        device: Torch device such as `cpu` or `cuda:0`; by default the visible GPU or the CPU.
        owner: This worker's name in the database, which no other worker has or had.

    Raises:
        UserError: the study file, the data, the workspace or the database cannot be used.
        MachineError: items fail on this machine, one after another.
    """
    import torch

    from ecgopt.comparison.open_study import open_study
    from ecgopt.dashboard.maintenance import PageMaintenance
    from ecgopt.jobs.pretrain import pretrained_sha256
    from ecgopt.jobs.registry import handlers
    from ecgopt.jobs.runs import ArmRuns, choose_device
    from ecgopt.jobs.worker import Worker, WorkerSettings, new_owner
    from ecgopt.workspace import Workspace

    torch.set_num_threads(1)
    chosen = choose_device(device)
    opened = open_study(study, Workspace(workspace), storage, patience_seconds=_OPEN_RETRY_SECONDS)
    sha256 = partial(pretrained_sha256, opened.database, opened.spec.name)
    arms = ArmRuns(opened.spec, opened.workspace, opened.data, chosen, opened.folder, sha256)
    maintenance = PageMaintenance(opened.database, opened.workspace, opened.spec.name)
    return Worker(
        database=opened.database,
        jobs=handlers(opened.database, arms),
        settings=WorkerSettings(
            comparison=opened.spec.name,
            lease_seconds=opened.spec.workers.lease_seconds,
            stall_seconds=opened.spec.workers.stall_seconds,
            max_failures=opened.spec.workers.max_failures,
            retry_seconds=opened.spec.workers.retry_seconds,
            device=str(chosen),
        ),
        owner=owner or new_owner(),
        stop_event=stop,
        after_item=maintenance.after_item,
        at_end=maintenance.at_end,
    ).work()


def say_stopping(n_workers: int) -> None:
    """Write to standard error that workers are stopping; safe in a signal handler."""
    if n_workers > 1:
        text = f"{n_workers} workers finish their epoch and save"
    else:
        text = "the worker finishes its epoch and saves" if n_workers else "nothing is in progress"
    os.write(2, f"\nstopping: {text} (Ctrl-C again: end immediately)\n".encode())


def stop_on_signals(
    stop: threading.Event,
    *,
    at_first: Callable[[], None] = lambda: None,
    immediately: Callable[[], None] = lambda: None,
) -> None:
    """Let SIGTERM and SIGINT set `stop`; a second one calls `immediately` and ends the process.

    `at_first` is called at the first one.

    Call it in the main thread, and inside the callable where a launcher (submitit) installs its own
    handlers before. After an abrupt end the lease runs out.
    """
    asked: list[int] = []

    def ask_to_stop(number: int, _frame: object) -> None:
        if asked:
            immediately()
            os._exit(_EXIT_IMMEDIATELY)
        asked.append(number)
        at_first()
        set_soon(stop)

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)


def _stop_at_end_of_input(stop: threading.Event) -> None:
    # The descriptor itself: a buffered stream may not be read while the interpreter ends.
    while os.read(0, 1):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
