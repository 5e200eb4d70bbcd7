"""`ecgopt report`, `answer`, `export`, `verify`, `merge`, `plan`: what a comparison says.

Wherever a study file is asked for, a bundle will do as well, except to plan.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from ecgopt.cli.options import StudyFile

if TYPE_CHECKING:
    from ecgopt.api import Results

ReportFormat = Literal["html", "md", "latex"]


def register(app: App) -> None:
    """Add the verbs of this file to `app`."""
    for verb in (report, answer, export, verify, merge, plan):
        app.command(verb)


def report(
    source: StudyFile,
    *,
    out: Path | None = None,
    format: ReportFormat = "html",
    pdf: bool = False,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Write the report: one HTML page, results.json, tables and figures.

    Example: `ecgopt report studies/demo.toml --out out/demo`

    Args:
        source: Study file, or bundle.
        out: Folder to write to; by default out/NAME.
        format: html writes the report; md and latex print the table for a paper.
        pdf: Write the figures as PDF too.
        storage: Database URL; by default $ECGOPT_STORAGE or the embedded database.
        workspace: Folder of predictions and checkpoints; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console

    from ecgopt.report.terminal import verdict_table
    from ecgopt.report.write import write_report

    with _opened(source, storage, workspace).concluded() as (conclusions, _):
        if format != "html":
            from ecgopt.report.paper_table import paper_table

            Console(soft_wrap=True, markup=False, highlight=False).print(
                paper_table(conclusions, format), end=""
            )
            return
        folder = out or Path("out") / conclusions.evidence.comparison.name
        paths = write_report(conclusions, folder, with_pdf=pdf)
        console = Console()
        console.print(verdict_table(conclusions))
        console.print(f"report: {paths.html}", soft_wrap=True, highlight=False)


def answer(source: StudyFile, *, storage: str | None = None, workspace: Path | None = None) -> None:
    """Print the verdict in three lines.

    Example: `ecgopt answer studies/demo.toml`

    Args:
        source: Study file, or bundle.
        storage: Database URL; by default $ECGOPT_STORAGE or the embedded database.
        workspace: Folder of predictions and checkpoints; by default $ECGOPT_WORKSPACE or storage.
    """
    from ecgopt.report.terminal import answer_lines

    with _opened(source, storage, workspace).concluded() as (conclusions, _):
        _print_lines(answer_lines(conclusions))


def export(
    source: StudyFile, bundle: Path, *, storage: str | None = None, workspace: Path | None = None
) -> None:
    """Export trials, predictions and settings as one archive.

    Example: `ecgopt export studies/demo.toml demo.zip`

    Args:
        source: Study file.
        bundle: A name that ends in .zip, or a folder that does not exist yet.
        storage: Database URL; by default $ECGOPT_STORAGE or the embedded database.
        workspace: Folder of predictions and checkpoints; by default $ECGOPT_WORKSPACE or storage.
    """
    written = _opened(source, storage, workspace).export(bundle)
    _print_lines([f"bundle: {written} ({written.stat().st_size:,} bytes)" if written.is_file()
                  else f"bundle: {written}"])  # fmt: skip


def verify(bundle: Path) -> None:
    """Recompute every number in a bundle from its raw data.

    Ends with an error where any number differs, the bundle contradicts itself or a gate fails.

    Example: `ecgopt verify demo.zip`

    Args:
        bundle: Written by `ecgopt export` or `ecgopt merge`.
    """
    from ecgopt.errors import UserError
    from ecgopt.evidence.bundle import open_bundle
    from ecgopt.report.verify import verify_bundle

    with open_bundle(bundle) as opened:
        found = verify_bundle(opened)
    for each in found:
        state = "ok  " if not each.wrong else "FAIL"
        note = f", largest difference {each.largest:.1g}" if each.largest else ""
        _print_lines([f"{state} {each.name}: {each.n_checked:,} checked{note}"])
        _print_lines([f"       {line}" for line in each.wrong[:10]])
    n_wrong = sum(len(each.wrong) for each in found)
    if n_wrong:
        raise UserError(
            f"bundle {bundle}: {n_wrong} of {sum(each.n_checked for each in found):,} do not "
            "hold: do not rely on it"
        )
    _print_lines([f"all {sum(each.n_checked for each in found):,} follow from the raw data"])


def merge(target: Path, *bundles: Path) -> None:
    """Join bundles from clusters that share no database.

    They may hold different cells, or the same cells under another seed, whose replicates are then
    numbered on.

    Example: `ecgopt merge whole.zip part_1.zip part_2.zip`

    Args:
        target: The joint bundle: a name that ends in .zip, or a folder that does not exist yet.
        bundles: Two or more bundles.
    """
    import tempfile
    from contextlib import ExitStack

    from ecgopt.analysis.conclude import conclude
    from ecgopt.evidence.bundle import open_bundle, write_bundle
    from ecgopt.evidence.merge import gather
    from ecgopt.report.results import results

    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="ecgopt-merge-") as name:
        opened = [stack.enter_context(open_bundle(path)) for path in bundles]
        evidence = gather(opened, Path(name))
        content = results(conclude(evidence, Path(name)))
        written = write_bundle(evidence, Path(name), target, results=content)
    n_trials = sum(len(study.trials) for study in evidence.studies)
    _print_lines(
        [f"bundle: {written}: {len(evidence.comparison.cells)} cells, {n_trials:,} trials, "
         f"{evidence.comparison.budget.replicates} replicates"]
    )  # fmt: skip


def plan(
    study: StudyFile,
    *,
    pilot: StudyFile | None = None,
    difference: float | None = None,
    workers: int = 1,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Estimate a study's cost and statistical power before running it.

    Example: `ecgopt plan studies/ptbxl_small.toml --pilot studies/demo.toml`

    Args:
        study: Study file.
        pilot: Study file or bundle of an earlier run: its spread and its time per sample are
            used. Without one, time is measured here on a few batches and the spread is assumed.
        difference: Macro AUROC to be called a win; by default three times the margin.
        workers: Workers at once.
        storage: Database URL of the pilot; by default $ECGOPT_STORAGE or the embedded database.
        workspace: Folder of the pilot's predictions; by default $ECGOPT_WORKSPACE or storage.
    """
    from rich.console import Console

    from ecgopt.planning.plan import measured_seconds, measured_spread
    from ecgopt.planning.plan import plan as plan_comparison
    from ecgopt.report.plan_table import plan_lines, power_table
    from ecgopt.study_file.reading import load_spec

    spec = load_spec(study)
    seconds: dict[str, float] = {}
    measured = None
    if pilot is not None:
        with _opened(pilot, storage, workspace).evidence() as (evidence, root):
            seconds = measured_seconds(evidence)
            measured = measured_spread(evidence, root)
    if missing := [model for model in spec.models if model.label not in seconds]:
        import torch

        from ecgopt.planning.training_speed import measure_seconds_per_sample

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        for model in missing:
            seconds[model.label] = measure_seconds_per_sample(model, spec.recipe.recipe(), device)
    found = plan_comparison(
        spec,
        seconds_per_sample=seconds,
        spread=measured,
        difference=difference,
    )
    console = Console()
    for line in plan_lines(found, spec, n_workers=workers):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(power_table(found))


def _print_lines(lines: list[str]) -> None:
    from rich.console import Console

    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _opened(source: StudyFile, storage: str | None, workspace: Path | None) -> "Results":
    """Return the results of a study file or bundle."""
    import ecgopt
    from ecgopt.evidence.bundle import is_bundle

    return (
        ecgopt.open_bundle(source) if is_bundle(source) else ecgopt.open(source, storage, workspace)
    )
