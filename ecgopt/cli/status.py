"""`ecgopt status`: a study's progress, once or live, as a table or JSON."""

from typing import TYPE_CHECKING

from ecgopt.cli.options import DEFAULT_PLACE, ExistingFile, PlaceOptions, check_regime

if TYPE_CHECKING:
    from ecgopt.cli.views import Activity
    from ecgopt.comparison.open_study import Begun
    from ecgopt.comparison.progress import Progress

_WATCH_SECONDS = 1.0


def status(
    study: ExistingFile,
    *,
    watch: bool = False,
    json: bool = False,
    all: bool = False,
    regime: str | None = None,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Show a study's progress.

    Trials, time left, workers, leases, failures and set-aside items.

    Example: `ecgopt status studies/demo.toml --watch`

    Args:
        study: Study file.
        watch: Show it until the study is finished or Ctrl-C is pressed.
        json: Print one JSON object.
        all: Show every study; by default up to twelve, those that are running first.
        regime: Only this regime's studies.
        place: Where the database and the files are.
    """
    from contextlib import suppress

    from ecgopt.errors import UserError

    if watch and json:
        raise UserError("--watch and --json exclude each other: JSON is one object, printed once")
    begun = place.open_begun(study)
    begun.check_unchanged()
    check_regime(regime, begun.spec.regimes)

    from ecgopt.cli.output import print_lines, print_table
    from ecgopt.cli.views import next_step, rendered
    from ecgopt.comparison.progress import read_progress

    if watch:
        # Ctrl-C ends the watching, not the study.
        with suppress(KeyboardInterrupt):
            _watch(begun, regime=regime, show_all=all)
        return
    progress = read_progress(begun.database, begun.spec)
    activity = _activity(begun)
    if json:
        print_lines(_as_json(progress, activity))
    else:
        print_table(rendered(progress, activity, regime=regime, show_all=all))
        print_lines(next_step(progress, study))


def _watch(begun: "Begun", *, regime: str | None, show_all: bool) -> None:
    import time

    from ecgopt.cli.live import LiveProgress
    from ecgopt.cli.output import print_lines
    from ecgopt.comparison.progress import read_progress
    from ecgopt.errors import DatabaseUnavailable

    with LiveProgress(keep=True) as live:
        while True:
            try:
                progress = read_progress(begun.database, begun.spec)
                live.show(progress, _activity(begun), regime=regime, show_all=show_all)
            except DatabaseUnavailable as error:
                print_lines(f"{error}; trying again")
                time.sleep(_WATCH_SECONDS)
                continue
            if progress.is_finished:
                return
            time.sleep(_WATCH_SECONDS)


def _activity(begun: "Begun") -> "Activity":
    from ecgopt.cli.views import Activity
    from ecgopt.queue.heartbeats import workers_seen
    from ecgopt.queue.inspect import inspect_queue

    name = begun.spec.name
    return Activity(workers_seen(begun.database, name), inspect_queue(begun.database, name))


def _as_json(progress: "Progress", activity: "Activity") -> str:
    import json
    from dataclasses import asdict

    content = {
        **asdict(progress),
        "finished": progress.is_finished,
        "workers": [asdict(worker) for worker in activity.workers],
        **asdict(activity.queue),
    }
    return json.dumps(content, indent=1)
