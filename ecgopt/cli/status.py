"""`ecgopt status`: how far a study is, once or live, as a table or JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecgopt.cli.begun import Begun
    from ecgopt.workers.presence import WorkerSeen
    from ecgopt.workers.progress import Progress

_WATCH_SECONDS = 1.0


def status(
    study: Path,
    *,
    watch: bool = False,
    json: bool = False,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Say how far a study is: stages, trials, workers, time left, lost and set-aside items.

    Example: `ecgopt status studies/demo.toml --watch`

    Args:
        study: Study file.
        watch: Go on showing it until the study is finished or Ctrl-C is pressed.
        json: Print one JSON object.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    from contextlib import suppress

    from rich.console import Console

    from ecgopt.cli.begun import open_begun
    from ecgopt.cli.live import rendered
    from ecgopt.errors import UserError
    from ecgopt.workers.presence import workers_seen
    from ecgopt.workers.progress import read_progress

    if watch and json:
        raise UserError("--watch and --json exclude each other: JSON is one object, printed once")
    begun = open_begun(study, storage, workspace)
    if watch:
        # The end that a watcher chooses; the study goes on without it.
        with suppress(KeyboardInterrupt):
            _watch(begun)
        return
    progress = read_progress(begun.database, begun.spec)
    workers = workers_seen(begun.database, begun.spec.name)
    console = Console()
    if json:
        console.out(_as_json(progress, workers), highlight=False)
    else:
        console.print(rendered(progress, workers))


def _watch(begun: "Begun") -> None:
    import time

    from ecgopt.cli.live import LiveProgress
    from ecgopt.workers.presence import workers_seen
    from ecgopt.workers.progress import read_progress

    with LiveProgress(keep=True) as live:
        while True:
            progress = read_progress(begun.database, begun.spec)
            live.show(progress, workers_seen(begun.database, begun.spec.name))
            if progress.is_finished:
                return
            time.sleep(_WATCH_SECONDS)


def _as_json(progress: "Progress", workers: "Sequence[WorkerSeen]") -> str:
    import json
    from dataclasses import asdict

    content = {
        **asdict(progress),
        "finished": progress.is_finished,
        "workers": [asdict(worker) for worker in workers],
    }
    return json.dumps(content, indent=1)
