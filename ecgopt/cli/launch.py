"""`ecgopt launch`: workers on a cluster; the database and the checkpoints do the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from ecgopt.cli.options import StudyFile
from ecgopt.launchers.resources import RayPlacement, SlurmPlacement

if TYPE_CHECKING:
    from ecgopt.launchers.remote_worker import Posting
    from ecgopt.workspace import Workspace

app = App(name="launch", help="Start workers on a cluster: Slurm or Ray.")

_FLAT = Parameter(name="*")
_SLURM, _RAY = SlurmPlacement(), RayPlacement()


@app.command
def slurm(
    study: StudyFile,
    *,
    workers: int,
    placement: Annotated[SlurmPlacement, _FLAT] = _SLURM,
    storage: str | None = None,
    workspace: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Submit workers as one array of Slurm jobs; they stay until the study is finished.

    A job that reaches its time limit or is pre-empted saves, gives its item back and queues again.

    Example: `ecgopt launch slurm studies/demo.toml --workers 8 --gpus-per-node 1`

    Args:
        study: Study file.
        workers: Jobs, one worker each.
        placement: What each job asks Slurm for.
        storage: Database URL; by default $ECGOPT_STORAGE. The jobs inherit it in their
            environment.
        workspace: Folder of data, checkpoints and predictions, seen by all nodes; by default
            $ECGOPT_WORKSPACE or storage.
        dry_run: Only print the script that sbatch would get.
    """
    import os
    import sys

    from ecgopt.comparison.open_study import open_study
    from ecgopt.database.url import STORAGE_VARIABLE, storage_url
    from ecgopt.launchers.remote_worker import refuse_shared_sqlite
    from ecgopt.study_file.reading import load_spec
    from ecgopt.workspace import chosen_workspace

    with _extra("slurm", "submitit"):
        from ecgopt.launchers import slurm as cluster

    _check_workers(workers)
    place = chosen_workspace(workspace)
    url = storage_url(storage, place.sqlite_file)
    name = load_spec(study).name
    folder = (placement.log_folder or place.logs(name)).resolve()
    executor = cluster.build_executor(placement, folder, name)
    if dry_run:
        sys.stdout.write(cluster.batch_script(executor, workers))
        return
    refuse_shared_sqlite(url, cluster.node_names(placement.partition))
    # What is wrong with the study or its data shows here, not in the log of a job hours later.
    open_study(study, place, storage)
    if storage is not None:
        os.environ[STORAGE_VARIABLE] = storage
    posting = _posting(study, place, url, needs_gpu=placement.has_gpu)
    worker = cluster.SlurmWorker(posting=posting, grace_seconds=placement.grace_seconds)
    job = cluster.submit(executor, worker, workers)
    sys.stdout.write(
        f"job {job}: {workers} workers in Slurm's queue, logs in {folder / job}\n"
        f"watch: ecgopt status {study}\n"
        f"stop: scancel {job} (they save and give their items back)\n"
    )


@app.command
def ray(
    study: StudyFile,
    *,
    workers: int,
    placement: Annotated[RayPlacement, _FLAT] = _RAY,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Run workers as Ray actors and watch them until the study is finished.

    Ctrl-C: every worker finishes its epoch, saves and gives its item back; the same command
    continues.

    Example: `ecgopt launch ray studies/demo.toml --workers 8 --gpus-per-worker 0.5 --address auto`

    Args:
        study: Study file.
        workers: Actors, one worker each.
        placement: Where Ray is, and what each actor asks it for.
        storage: Database URL; by default $ECGOPT_STORAGE. The actors get it from this command.
        workspace: Folder of data, checkpoints and predictions, seen by all nodes; by default
            $ECGOPT_WORKSPACE or storage.
    """
    import sys

    from pydantic import SecretStr

    from ecgopt.cli.live import LiveProgress
    from ecgopt.comparison.open_study import open_study
    from ecgopt.comparison.progress import read_progress
    from ecgopt.database.url import storage_url
    from ecgopt.errors import DatabaseUnavailable
    from ecgopt.launchers.local import wait_until_done
    from ecgopt.workspace import chosen_workspace

    with _extra("ray", "ray"):
        from ecgopt.launchers.ray import RayWorkers

    _check_workers(workers)
    place = chosen_workspace(workspace)
    url = storage_url(storage, place.sqlite_file)
    with LiveProgress() as live:
        opened = open_study(study, place, storage, on_progress=live.preparing)

        def is_finished() -> bool:
            try:
                progress = read_progress(opened.database, opened.spec)
            except DatabaseUnavailable:
                return False
            live.show(progress)
            return progress.is_finished

        if not is_finished():
            with RayWorkers(
                posting=_posting(study, place, url, needs_gpu=placement.gpus_per_worker > 0),
                url=SecretStr(url),
                placement=placement,
                n_workers=workers,
            ) as actors:
                wait_until_done(actors, is_finished)
        finished = is_finished()
    sys.stdout.write(
        f"finished; next: ecgopt report {study}\n"
        if finished
        else "the workers were asked to stop; the same command continues\n"
    )


def _posting(study: StudyFile, place: "Workspace", url: str, *, needs_gpu: bool) -> "Posting":
    import os

    from ecgopt.cli.work import work
    from ecgopt.database.url import INSECURE_VARIABLE, STORAGE_FILE_VARIABLE
    from ecgopt.launchers.remote_worker import Posting, shown_database

    file_name = os.environ.get(STORAGE_FILE_VARIABLE)
    return Posting(
        study=study.resolve(),
        workspace=place.root.resolve(),
        database=shown_database(url),
        storage_file=Path(file_name).resolve() if file_name else None,
        insecure=os.environ.get(INSECURE_VARIABLE) == "1",
        needs_gpu=needs_gpu,
        work=work,
    )


@contextmanager
def _extra(name: str, module: str) -> Iterator[None]:
    """Turn a missing optional library into the command that installs it."""
    from ecgopt.errors import LaunchError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module:
            raise
        raise LaunchError(f"{module} is not installed: pip install 'ecgopt[{name}]'") from None


def _check_workers(count: int) -> None:
    from ecgopt.errors import LaunchError

    if count < 1:
        raise LaunchError(f"--workers must be at least 1, but is {count}")
