"""`ecgopt study`: checks study files, and steers studies that have begun."""

from typing import TYPE_CHECKING

from cyclopts import App

from ecgopt.cli import steering
from ecgopt.cli.options import DEFAULT_PLACE, ExistingFile, PlaceOptions

if TYPE_CHECKING:
    from ecgopt.study_file.spec import StudySpec

app = App(name="study", help="Check a study file; steer, extend or delete a study.")
for verb in (
    steering.pause,
    steering.resume,
    steering.retry,
    steering.enqueue,
    steering.extend,
    steering.delete,
):
    app.command(verb)


@app.command
def check(study: ExistingFile, *, hours: bool = True) -> None:
    """Check a study file, and show its cells, its work and its hours on this machine.

    The data are not needed. Speeds are measured on a few batches the first time, and then stored.

    Example: `ecgopt study check studies/demo.toml`

    Args:
        study: Study file.
        hours: Whether to estimate the hours.
    """
    from collections import Counter

    from rich.table import Table

    from ecgopt.analysis.verdict import MIN_REPLICATES_TO_DECIDE
    from ecgopt.cli.output import print_lines, print_table
    from ecgopt.jobs.registry import DIAGNOSTICS, work_items
    from ecgopt.study_file.cells import ALL_RECORDS, expand_cells, expand_studies
    from ecgopt.study_file.reading import load_spec

    spec = load_spec(study)
    cells, studies = expand_cells(spec), expand_studies(spec)
    items = work_items(spec, studies)
    table = Table(box=None, pad_edge=False)
    for name in ("upstream", "downstream", "model", "n"):
        table.add_column(name, justify="right" if name == "n" else "left")
    for cell in cells:
        size = "all" if cell.n_train == ALL_RECORDS else f"{cell.n_train:,}"
        table.add_row(cell.upstream, cell.downstream, cell.network, size)
    print_table(table)
    counts = Counter(item.kind for item in items)
    parts = (
        (len(cells), "cell"), (spec.budget.replicates, "replicate"), (len(studies), "studies"),
        (counts["pretrain"], "pre-training"), (counts["trial"], "trial"),
        (counts["final"], "final fit"),
        (sum(counts[job.kind] for job in DIAGNOSTICS), "diagnostic run"),
    )  # fmt: skip
    texts = (f"{n:,} {what}{'s' * (n != 1 and what != 'studies')}" for n, what in parts)
    print_lines(f"{study}: valid; {', '.join(texts)}")
    arms = {
        name: f"{name} ({spec.arms[name]})" if name in spec.arms else name for name in spec.regimes
    }
    print_lines(*(f"{text}: {spec.search_space(name)}" for name, text in arms.items()))
    if spec.budget.replicates < MIN_REPLICATES_TO_DECIDE:
        print_lines(
            "With replicates = 1 every verdict is undecided; the report gives estimates only. Set "
            "replicates to 3 or more in [budget] for a verdict."
        )
    if hours:
        print_lines(*_hours(spec))


@app.command
def notify(study: ExistingFile) -> None:
    """Send a test message as `[notify]` of the study file says.

    The study does not need to have begun.

    Example: `ecgopt study notify my_study.toml`

    Args:
        study: Study file.
    """
    from ecgopt.cli.output import print_lines
    from ecgopt.errors import UserError
    from ecgopt.launchers.notify import Message, send
    from ecgopt.study_file.reading import load_spec

    spec = load_spec(study)
    if not spec.notify.is_set:
        raise UserError(f"{study}: [notify] must have a command or a webhook: add one")
    title = f"study {spec.name!r}: this is a test"
    message = Message(event=spec.notify.on[0], study=spec.name, title=title)
    if failures := send(spec.notify, message):
        raise UserError("; ".join(failures))
    print_lines(f"{spec.name}: the test message was sent")


@app.command
def track(study: ExistingFile, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Copy trials and final fits that have ended to the trackers of `[track]`.

    Adds what they lack, also while the study runs.

    Example: `ecgopt study track my_study.toml`

    Args:
        study: Study file.
        place: Where the database and the files are.
    """
    from ecgopt.cli.output import counted, print_lines
    from ecgopt.errors import UserError
    from ecgopt.study_file.reading import load_spec
    from ecgopt.trackers.follow import Follower
    from ecgopt.workspace import chosen_workspace

    spec = load_spec(study)
    if not spec.track.is_set:
        raise UserError(f"{study}: [track] must have tensorboard or mlflow: add one")
    follower = Follower(study, spec, place.storage, chosen_workspace(place.workspace))
    print_lines(f"{spec.name}: {counted(follower.copy(), 'run')} added to the trackers of [track]")


def _hours(spec: "StudySpec") -> list[str]:
    from ecgopt.launchers.gpus import gpus_of_host
    from ecgopt.launchers.local import usable_cores
    from ecgopt.planning.plan import loads
    from ecgopt.planning.training_speed import known_seconds_per_sample, speed_file
    from ecgopt.report.plan_table import load_lines
    from ecgopt.study_file.cells import expand_studies

    gpus = gpus_of_host()
    device = "cuda" if gpus else "cpu"
    seconds = known_seconds_per_sample(spec, device, speed_file())
    n_workers = len(gpus) or usable_cores()
    return load_lines(loads(spec, expand_studies(spec), seconds), n_workers=n_workers)
