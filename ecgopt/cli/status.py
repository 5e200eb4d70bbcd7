"""`ecgopt status`: how far a study is, once or live, as a table or JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

from ecgopt.cli.options import StudyFile

if TYPE_CHECKING:
    from ecgopt.cli.views import Hands
    from ecgopt.comparison.open_study import Begun
    from ecgopt.comparison.progress import Progress

_WATCH_SECONDS = 1.0


def status(
    study: StudyFile,
    *,
    watch: bool = False,
    json: bool = False,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Show a study's progress.

    Trials, time left, workers, leases, lost and set-aside items.

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

    from ecgopt.cli.views import rendered
    from ecgopt.comparison.open_study import open_begun
    from ecgopt.comparison.progress import read_progress
    from ecgopt.errors import UserError

    if watch and json:
        raise UserError("--watch and --json exclude each other: JSON is one object, printed once")
    begun = open_begun(study, storage, workspace)
    if watch:
        # The end that a watcher chooses; the study goes on without it.
        with suppress(KeyboardInterrupt):
            _watch(begun)
        return
    progress = read_progress(begun.database, begun.spec)
    hands = _hands(begun)
    console = Console()
    if json:
        console.out(_as_json(progress, hands), highlight=False)
    else:
        console.print(rendered(progress, hands))


def _watch(begun: "Begun") -> None:
    import time

    from ecgopt.cli.live import LiveProgress
    from ecgopt.comparison.progress import read_progress

    with LiveProgress(keep=True) as live:
        while True:
            progress = read_progress(begun.database, begun.spec)
            live.show(progress, _hands(begun))
            if progress.is_finished:
                return
            time.sleep(_WATCH_SECONDS)


def _hands(begun: "Begun") -> "Hands":
    from ecgopt.cli.views import Hands
    from ecgopt.queue.heartbeats import workers_seen
    from ecgopt.queue.inspect import inspect_queue

    name = begun.spec.name
    return Hands(workers_seen(begun.database, name), inspect_queue(begun.database, name))


def _as_json(progress: "Progress", hands: "Hands") -> str:
    import json
    from dataclasses import asdict

    content = {
        **asdict(progress),
        "finished": progress.is_finished,
        "workers": [asdict(worker) for worker in hands.workers],
        **asdict(hands.queue),
    }
    return json.dumps(content, indent=1)
