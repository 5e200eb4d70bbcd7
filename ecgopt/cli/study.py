"""`ecgopt study`: looking at study files before anything runs, and steering what has begun."""

from pathlib import Path

from cyclopts import App

from ecgopt.cli import steering

app = App(name="study", help="Check study files, and steer studies that have begun.")
for verb in (
    steering.pause,
    steering.resume,
    steering.enqueue,
    steering.extend,
    steering.delete,
):
    app.command(verb)


@app.command
def check(study: Path) -> None:
    """Validate a study file and say what it expands to.

    Example: `ecgopt study check studies/demo.toml`

    Args:
        study: Study file.
    """
    from rich.console import Console
    from rich.table import Table

    from ecgopt.tuning.cells import expand_cells, expand_studies
    from ecgopt.tuning.study_file import load_spec
    from ecgopt.workers.setup import work_items

    spec = load_spec(study)
    cells, studies = expand_cells(spec), expand_studies(spec)
    items = work_items(spec, studies)
    console = Console()
    table = Table(box=None, pad_edge=False)
    for name in ("upstream", "downstream", "model", "n"):
        table.add_column(name, justify="right" if name == "n" else "left")
    for cell in cells:
        table.add_row(cell.upstream, cell.downstream, cell.model.label, f"{cell.n_train:,}")
    console.print(table)
    counts = {
        kind: sum(item.kind == kind for item in items) for kind in ("pretrain", "trial", "final")
    }
    console.print(
        f"{study}: valid; {len(cells)} cells, {spec.budget.replicates} replicates, "
        f"{len(studies)} studies, {counts['pretrain']} pre-trainings, {counts['trial']:,} trials, "
        f"{counts['final']:,} final fits",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    for name in spec.regimes:
        space = spec.search_space(name)
        spans = ", ".join(
            f"{key} {space.ranges[key].low:g}..{space.ranges[key].high:g}"
            + (" log" if space.ranges[key].log else "")
            for key in space
        )
        console.print(f"{name}: {spans}", soft_wrap=True, highlight=False, markup=False)
