"""The verdicts in the terminal: a table that fits 80 columns, and plain lines."""

from typing import TYPE_CHECKING

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import CellConclusion, Conclusions
from ecgopt.analysis.verdict import Decision
from ecgopt.report import words
from ecgopt.report.page.headline import MARK, answer, gate_sentence, is_marked, pooled_sentences

if TYPE_CHECKING:
    import rich.table

DECISION_STYLES = {Decision.HIGHER: "bold blue", Decision.LOWER: "bold dark_orange"}


def verdict_table(conclusions: Conclusions) -> "rich.table.Table":
    """Return one row per cell and regime; what all rows share stands in the title."""
    from rich import box
    from rich.table import Table

    comparison = conclusions.evidence.comparison
    models = {cell.cell.model for cell in conclusions.cells}
    others = comparison.regimes[1:]
    reference = words.regime_name(comparison.regimes[0])
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=f"Test {words.metric(comparison)}, {reference} / "
        + ", ".join(map(words.regime_name, others))
        + (f", {words.network(next(iter(models)))}" if len(models) == 1 else ""),
        title_justify="left",
        title_style="",
    )
    table.add_column("cell")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("published", justify="right", no_wrap=True)
    table.add_column("tuned", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for cell in conclusions.cells:
        for found in cell.comparisons:
            label = words.transfer(cell.cell.upstream, cell.cell.downstream)
            if len(models) > 1:
                label += f", {words.network(cell.cell.model)}"
            if len(others) > 1:
                label += f", {words.pair_name(found, comparison)}"
            is_failed = is_marked(found, conclusions)
            table.add_row(label, *_numbers(cell, found, is_failed=is_failed))
    return table


def _numbers(cell: CellConclusion, found: CellComparison, *, is_failed: bool) -> tuple[str, ...]:
    reference, arm = cell.arms[found.reference], cell.arms[found.regime]
    published, tuned = (
        f"{words.score(reference.test_score(role))}/{words.score(arm.test_score(role))}"
        for role in ("published", "tuned")
    )
    verdict = words.verdict_of(found) + (f" {MARK}" if is_failed else "")
    style = DECISION_STYLES.get(found.decision, "")
    return (
        f"{cell.cell.n_train:,}",
        published,
        tuned,
        _difference(found),
        f"[{style}]{verdict}[/]" if style else verdict,
    )


def _difference(found: CellComparison) -> str:
    if found.interval is None:
        return words.MISSING
    return words.difference(found.interval)


def verdict_lines(conclusions: Conclusions) -> list[str]:
    """Return the verdicts and failed checks as plain lines, for logs and pipes."""
    lines = []
    for cell in conclusions.cells:
        for found in cell.comparisons:
            lines.append(f"{words.whole_cell(cell.cell)}: {words.verdict_sentence(found)}")
            lines.extend(f"  note: {caveat}" for caveat in found.judgement.caveats)
    if any(gate.state == "failed" for gate in conclusions.gates):
        is_used = any(
            is_marked(found, conclusions)
            for cell in conclusions.cells
            for found in cell.comparisons
        )
        lines.append(
            f"{MARK} {gate_sentence(conclusions)}" if is_used else gate_sentence(conclusions)
        )
    return lines


def answer_lines(conclusions: Conclusions) -> list[str]:
    """Return the answer in three lines: the verdict, the scores, what they rest on."""
    comparison = conclusions.evidence.comparison
    budget = comparison.budget
    pooled = pooled_sentences(conclusions)
    if len(conclusions.cells) == 1:
        scores = "; ".join(
            f"{words.regime_name(regime)} {words.score(arm.test_score())} tuned, "
            f"{words.score(arm.test_score('published'))} with the published recipe"
            for regime, arm in conclusions.cells[0].arms.items()
        )
        second = f"Test {words.metric(comparison)}: {scores}."
    else:
        second = pooled[0] if pooled else "Too few cells for one statement over all of them."
    third = (
        f"{budget.trials} trials per arm, {words.replicates(comparison)}, "
        f"{words.seeds(budget.final_seeds)}; margin ±{comparison.margin:g}"
        + (f"; {looks}" if (looks := words.looks(comparison, conclusions.level_left)) else "")
        + f". {gate_sentence(conclusions)}"
    )
    return [answer(conclusions), second, third]
