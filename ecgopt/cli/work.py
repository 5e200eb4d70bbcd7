"""One worker, composed: what every way of starting workers calls in the end.

Every kind of work item gets its handler here. Local processes, Slurm jobs and Ray actors all call
`work`.
"""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

_EXIT_AT_ONCE = 143
_OPENING_PATIENCE_SECONDS = 60.0
"""Workers are started by the dozen, also while a server restarts or is short of connections."""


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
    """
    import torch

    from ecgopt.comparison.open_study import open_study
    from ecgopt.dashboard.upkeep import Upkeep
    from ecgopt.jobs.diagnostics import diagnostic_handlers
    from ecgopt.jobs.final import FinalJob
    from ecgopt.jobs.pretrain import PretrainJob, PretrainTrialJob
    from ecgopt.jobs.runs import ArmRuns
    from ecgopt.jobs.trial import TrialJob, choose_device
    from ecgopt.jobs.worker import Worker, WorkerSettings, new_owner
    from ecgopt.workspace import Workspace

    torch.set_num_threads(1)
    chosen = choose_device() if device is None else torch.device(device)
    opened = open_study(
        study, Workspace(workspace), storage, patience_seconds=_OPENING_PATIENCE_SECONDS
    )
    arms = ArmRuns(opened.spec, opened.workspace, opened.data, chosen)
    upkeep = Upkeep(opened.database, opened.workspace, opened.spec.name)
    return Worker(
        database=opened.database,
        handlers={
            "pretrain_trial": PretrainTrialJob(arms),
            "pretrain": PretrainJob(opened.database, arms),
            "trial": TrialJob(opened.database, arms),
            "final": FinalJob(opened.database, arms),
            **diagnostic_handlers(opened.database, arms),
        },
        settings=WorkerSettings(
            comparison=opened.spec.name,
            lease_seconds=opened.spec.workers.lease_seconds,
            stall_seconds=opened.spec.workers.stall_seconds,
            max_failures=opened.spec.workers.max_failures,
            device=str(chosen),
        ),
        owner=owner or new_owner(),
        stop_event=stop,
        after_item=upkeep.after_item,
        at_end=upkeep.at_end,
    ).work()


def stop_on_signals(stop: threading.Event, *, at_once: Callable[[], None] = lambda: None) -> None:
    """Let SIGTERM and SIGINT set `stop`, and a second one call `at_once` and end the process.

    Call it in the main thread, and inside the callable where a launcher (submitit) installs
    handlers of its own before. After an abrupt end the lease runs out by itself.
    """
    asked: list[int] = []

    def ask_to_stop(number: int, _frame: object) -> None:
        if asked:
            at_once()
            os._exit(_EXIT_AT_ONCE)
        asked.append(number)
        # Not set here: the main thread may hold the event's own lock at this very moment.
        threading.Thread(target=stop.set, name="stop", daemon=True).start()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
