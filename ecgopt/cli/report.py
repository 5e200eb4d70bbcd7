"""`ecgopt report`, `answer`, `export`, `verify`, `merge`, `plan`: the results of a study.

Every command but `plan` also takes a bundle in place of a study file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ecgopt.cli.options import DEFAULT_PLACE, ExistingFile, Place, PlaceOptions
from ecgopt.cli.output import print_lines, print_table

if TYPE_CHECKING:
    from ecgopt.api import Results

ReportFormat = Literal["html", "md", "latex"]


def report(
    source: ExistingFile,
    *,
    out: Path | None = None,
    format: ReportFormat = "html",
    pdf: bool = False,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Write the report: one HTML page, results.json, tables and figures.

    Example: `ecgopt report studies/demo.toml --out out/demo`

    Args:
        source: Study file, or bundle.
        out: Folder to write to; by default out/NAME.
        format: html writes the report; md and latex print the table for a paper.
        pdf: Write the figures as PDF too.
        place: Where the database and the files are.
    """
    results = _opened(source, place)

    from ecgopt.report.terminal import verdict_table
    from ecgopt.report.write import write_report

    with results.concluded() as (conclusions, _):
        if format != "html":
            from ecgopt.report.paper_table import paper_table

            print_lines(paper_table(conclusions, format).rstrip("\n"))
            return
        folder = out or Path("out") / conclusions.evidence.comparison.name
        paths = write_report(conclusions, folder, with_pdf=pdf)
        print_table(verdict_table(conclusions), markup=True)
        print_lines(f"report: {paths.html}")


def answer(source: ExistingFile, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Print the verdict in three lines.

    Example: `ecgopt answer studies/demo.toml`

    Args:
        source: Study file, or bundle.
        place: Where the database and the files are.
    """
    results = _opened(source, place)

    from ecgopt.report.terminal import answer_lines

    with results.concluded() as (conclusions, _):
        print_lines(*answer_lines(conclusions))


def export(source: ExistingFile, bundle: Path, *, place: PlaceOptions = DEFAULT_PLACE) -> None:
    """Export trials, predictions and settings as one archive.

    Example: `ecgopt export studies/demo.toml demo.zip`

    Args:
        source: Study file.
        bundle: A name that ends in .zip, or a folder that does not exist yet.
        place: Where the database and the files are.
    """
    written = _opened(source, place).export(bundle)
    size = f" ({written.stat().st_size:,} bytes)" if written.is_file() else ""
    print_lines(f"bundle: {written}{size}")


def verify(bundle: ExistingFile) -> None:
    """Recompute every number in a bundle from its raw data.

    Ends with an error if any number differs, the bundle contradicts itself or a gate fails.

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
        print_lines(f"{state} {each.name}: {each.n_checked:,} checked{note}")
        print_lines(*(f"       {line}" for line in each.wrong[:10]))
    n_wrong = sum(len(each.wrong) for each in found)
    if n_wrong:
        raise UserError(
            f"bundle {bundle}: {n_wrong} of {sum(each.n_checked for each in found):,} do not "
            "hold: do not rely on it"
        )
    print_lines(f"all {sum(each.n_checked for each in found):,} follow from the raw data")


def merge(target: Path, *bundles: ExistingFile) -> None:
    """Join bundles from clusters that share no database.

    They have different cells, or the same cells under another seed; the replicates of those are
    numbered consecutively.

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
    print_lines(
        f"bundle: {written}: {len(evidence.comparison.cells)} cells, {n_trials:,} trials, "
        f"{evidence.comparison.budget.replicates} replicates"
    )


def plan(
    study: ExistingFile,
    *,
    pilot: ExistingFile | None = None,
    difference: float | None = None,
    workers: int = 1,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Estimate a study's cost and statistical power before running it.

    Example: `ecgopt plan studies/ptbxl_small.toml --pilot studies/demo.toml`

    Args:
        study: Study file.
        pilot: Study file or bundle of an earlier run: its spread and its time per sample are
            used. Without one, time is measured here on a few batches and the spread is assumed.
        difference: Assumed true difference of the metric; by default three times the margin.
        workers: Number of workers.
        place: Where the database and the files are.
    """
    from ecgopt.planning.plan import measured_seconds, measured_spread
    from ecgopt.planning.plan import plan as plan_comparison
    from ecgopt.report.plan_table import plan_lines, power_table
    from ecgopt.study_file.reading import load_spec

    spec = load_spec(study)
    seconds: dict[str, float] = {}
    measured = None
    if pilot is not None:
        with _opened(pilot, place).evidence() as (evidence, root):
            seconds = measured_seconds(evidence)
            measured = measured_spread(evidence, root, metric=spec.verdict.metric)
    if missing := [model for model in spec.models if model.label not in seconds]:
        from ecgopt.jobs.runs import choose_device
        from ecgopt.planning.training_speed import measure_seconds_per_sample

        device = choose_device()
        for model in missing:
            seconds[model.label] = measure_seconds_per_sample(
                model, spec.recipe.recipe(), device, form=spec.input_form(model)
            )
    found = plan_comparison(
        spec,
        seconds_per_sample=seconds,
        spread=measured,
        difference=difference,
    )
    print_lines(*plan_lines(found, spec, n_workers=workers))
    print_table(power_table(found))


def _opened(source: ExistingFile, place: Place) -> "Results":
    """Return the results of a study file or bundle."""
    if source.suffix == ".toml":
        place.check_database()

    import ecgopt
    from ecgopt.evidence.bundle import is_bundle

    if is_bundle(source):
        return ecgopt.open_bundle(source)
    return ecgopt.open(source, place.storage, place.workspace)
