"""`ecgopt status`: how far a study is, as a table or JSON."""

from pathlib import Path


def status(
    study: Path,
    *,
    json: bool = False,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Say how far a study is: stages, trials, workers, lost and set-aside items.

    Example: `ecgopt status studies/demo.toml --json`

    Args:
        study: Study file.
        json: Print one JSON object.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database; by default $ECGOPT_WORKSPACE or storage.
    """
    import json as json_format
    from dataclasses import asdict

    from rich.console import Console

    from ecgopt.cli.live import rendered
    from ecgopt.errors import UserError
    from ecgopt.tuning.storage import open_database, quiet_optuna, storage_url
    from ecgopt.tuning.study_file import load_spec
    from ecgopt.tuning.tables import create_tables
    from ecgopt.tuning.workspace import Workspace, default_workspace
    from ecgopt.workers.presence import workers_seen
    from ecgopt.workers.progress import read_progress
    from ecgopt.workers.setup import stored_comparison

    spec = load_spec(study)
    place = default_workspace() if workspace is None else Workspace(workspace)
    quiet_optuna()
    database = open_database(storage_url(storage, place.sqlite_file))
    create_tables(database)
    if stored_comparison(database, spec.name) is None:
        raise UserError(
            f"study {spec.name!r} has not begun in {database.describe()}: run `ecgopt run {study}`"
        )
    progress, workers = read_progress(database, spec), workers_seen(database, spec.name)
    console = Console()
    if json:
        content = {
            **asdict(progress),
            "finished": progress.is_finished,
            "workers": [asdict(worker) for worker in workers],
        }
        console.out(json_format.dumps(content, indent=1), highlight=False)
        return
    console.print(rendered(progress))
    for seen in workers:
        console.print(
            f"worker {seen.owner} on {seen.device}: {seen.item or 'waiting'}, epoch {seen.epoch}, "
            f"seen {seen.seen_seconds_ago:.0f} s ago, {seen.state}",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
