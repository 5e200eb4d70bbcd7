"""A plan in the terminal: what a comparison takes, and what it can decide."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecgopt.analysis.verdict import MIN_REPLICATES_TO_DECIDE
from ecgopt.planning.plan import Load, Plan
from ecgopt.report import words
from ecgopt.study_file.spec import StudySpec

if TYPE_CHECKING:
    import rich.table


def plan_lines(plan: Plan, spec: StudySpec, *, n_workers: int) -> list[str]:
    """Return cells, work and hours, and what the power rests on."""
    lines = [
        f"{plan.n_cells} cell{'s' * (plan.n_cells != 1)}, {plan.n_studies} studies of "
        f"{spec.budget.trials} trials, {spec.budget.replicates} replicate"
        f"{'s' * (spec.budget.replicates != 1)}",
        *load_lines(plan.loads, n_workers=n_workers),
    ]
    spread = plan.spread.variances
    origin = (
        "assumed for a macro AUROC; a pilot of three replicates would measure it"
        if plan.is_assumed
        else f"measured in the pilot on {plan.spread.freedom:.0f} degrees of freedom; the power is "
        "the mean over what they leave open"
    )
    lines.append(
        f"spread of a difference: seeds {words.score(spread.seeds)}, replicates "
        f"{words.score(spread.replicates)}, test patients {words.score(spread.patients)} ({origin})"
    )
    lines.append(
        f"to call {words.signed(plan.difference)} a win with 80% power: "
        f"{_replicates(plan.replicates_to_win)}; to call no difference equivalent: "
        f"{_replicates(plan.replicates_for_equivalence)}"
    )
    if plan.largest_overlap:
        lines.append(
            f"a replicate draws up to {plan.largest_overlap:.0%} of a pool's records"
            + (
                ": where it draws all of them nothing is decided"
                if plan.largest_overlap >= 1
                else ", so replicates share records, which more replicates do not pay for"
            )
        )
    if spec.verdict.until == "decided":
        lines.append(
            "then a replicate is added to every cell that is not decided, up to "
            f"{spec.verdict.most}: the numbers above are of the first {spec.budget.replicates}, "
            "and the power is that of the first look"
        )
    if spec.budget.replicates < MIN_REPLICATES_TO_DECIDE:
        lines.append("with one replicate nothing is decided: the report gives estimates only")
    return lines


def load_lines(loads: Sequence[Load], *, n_workers: int) -> list[str]:
    """Return the work and the hours of each model and of all together."""
    lines = [
        f"{load.model}: {load.trials:,} trials, {load.final_fits:,} final fits, "
        f"{load.pretrainings} pre-training{'s' * (load.pretrainings != 1)}, "
        f"{load.diagnostics} diagnostic run{'s' * (load.diagnostics != 1)}; "
        f"{load.samples:,} training samples at {1 / load.seconds_per_sample:,.0f} per second: "
        f"{words.duration(load.hours * 3600)} of one worker, and "
        f"{words.duration(load.pretraining_hours * 3600)} to pre-train"
        for load in loads
    ]
    hours = sum(load.hours + load.pretraining_hours for load in loads)
    lines.append(
        f"together at most {words.duration(hours * 3600)} of one worker, so "
        f"{words.duration(hours / n_workers * 3600)} with {n_workers} worker"
        f"{'s' * (n_workers != 1)} (nothing pruned, nothing frozen)"
    )
    return lines


def _replicates(needed: int | None) -> str:
    if needed is None:
        return "no number of replicates (too few test patients, or too much of the pool in each)"
    return f"{needed} replicates"


def power_table(plan: Plan) -> "rich.table.Table":
    """Return the probability of each outcome against the number of replicates."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for column in (
        "replicates",
        f"{words.signed(plan.difference)} wins",
        "the margin wins",
        "no difference is equivalent",
    ):
        table.add_column(column, justify="right")
    for row in plan.power:
        shares = (row.wins, row.wins_at_margin, row.equivalent)
        table.add_row(str(row.replicates), *(f"{share:.0%}" for share in shares))
    return table
