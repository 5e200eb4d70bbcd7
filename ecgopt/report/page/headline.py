"""The page's first part: the verdict in words and in one table, and the checks that failed."""

from collections import Counter
from collections.abc import Sequence

from ecgopt.analysis.arms import budget_trials
from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import Conclusions
from ecgopt.analysis.gates import Gate
from ecgopt.analysis.verdict import Decision
from ecgopt.evidence.records import CellKey
from ecgopt.report import words
from ecgopt.report.page.html import PageTable, Section

MOST_ROWS_SHOWN = 24
MOST_SENTENCES = 8
MOST_LADDERS = 3
"""Ladders of training sizes that the headline spells out; more are counted."""
MARK = "†"
"""Behind a verdict: a check failed for an arm of this row."""


def answer(conclusions: Conclusions) -> str:
    """Return the verdict over all cells in one or a few sentences."""
    found = [comparison for cell in conclusions.cells for comparison in cell.comparisons]
    if any(item.decision is Decision.INTERIM for item in found):
        return _not_finished(conclusions, found)
    if len(found) == 1:
        return words.verdict_sentence(found[0])
    ladders = _ladders(found)
    if len(ladders) <= MOST_LADDERS and all(len(ladder) > 1 for ladder in ladders):
        return " ".join(
            _say_sizes(ladder, name_cell=len({_place(each[0]) for each in ladders}) > 1)
            for ladder in ladders
        )
    counts = Counter(words.verdict_of(item) for item in found)
    if len(counts) == 1:
        return f"All {len(found)} comparisons: {next(iter(counts))}."
    parts = [f"{verdict} in {count}" for verdict, count in counts.most_common()]
    return f"Of {len(found)} comparisons: {', '.join(parts)}."


def _not_finished(conclusions: Conclusions, found: Sequence[CellComparison]) -> str:
    evidence, waiting = conclusions.evidence, [f for f in found if f.decision is Decision.INTERIM]
    budget, cells = evidence.comparison.budget, evidence.comparison.cells
    places = {
        (name, None if arm.arm.studies and arm.arm.studies[0].upstream is None else cell.cell)
        for cell in conclusions.cells
        for name, arm in cell.arms.items()
    }
    n_studies = len(evidence.studies) or len(places) * budget.replicates
    n_trials = sum(
        arm_trials.state in ("complete", "pruned", "failed")
        for study in evidence.studies
        for arm_trials in budget_trials(study.trials)
    )
    n_finals = sum(final.role == "tuned" for final in evidence.finals)
    done = (
        f"{n_trials:,} of {n_studies * budget.trials:,} trials and {n_finals:,} of "
        f"{n_studies * budget.final_seeds:,} final fits are done"
    )
    which = "" if len(waiting) == len(found) else f" for {len(waiting)} of {len(found)} comparisons"
    return f"Not finished: {done}. No verdict yet{which if cells else ''}."


def _place(item: CellComparison) -> tuple[str, str, str]:
    return item.cell.upstream, item.cell.downstream, item.cell.model


def _ladders(found: Sequence[CellComparison]) -> list[list[CellComparison]]:
    """Return the comparisons that differ in training size alone, by growing size."""
    groups: dict[tuple[str, ...], list[CellComparison]] = {}
    for item in found:
        groups.setdefault((*_place(item), item.reference, item.regime), []).append(item)
    return [sorted(group, key=lambda item: item.cell.n_train) for group in groups.values()]


def _say_sizes(ladder: Sequence[CellComparison], *, name_cell: bool) -> str:
    """Return what holds at which training sizes: `fine-tune wins with up to 200 records; ...`."""
    first = ladder[0]
    arm, reference = words.regime_name(first.regime), words.regime_name(first.reference)
    sizes: dict[str, list[int]] = {}
    for item in ladder:
        sizes.setdefault(_verdict_of_two(item, arm, reference), []).append(item.cell.n_train)
    smallest = [item.cell.n_train for item in ladder]
    parts = []
    for number, (verdict, some) in enumerate(sizes.items()):
        if len(sizes) == 1:
            where = f"at all {len(some)} training sizes, {some[0]:,} to {some[-1]:,} records"
        elif number == 0 and len(some) > 1 and some == smallest[: len(some)]:
            where = f"with up to {some[-1]:,} labelled records"
        else:
            where = f"with {words.listed([f'{n:,}' for n in some])}"
            where += " labelled records" if number == 0 else ""
        parts.append(f"{verdict} {where}")
    said = "; ".join(parts)
    return f"{words.ladder(*_place(first))}: {said}." if name_cell else f"{words.capital(said)}."


def _verdict_of_two(item: CellComparison, arm: str, reference: str) -> str:
    if item.decision is Decision.EQUIVALENT:
        return f"{arm} and {reference} are equivalent"
    if item.decision is Decision.UNDECIDED:
        return f"{arm} against {reference} is undecided"
    return f"{words.verdict_of(item)} over {_loser(item)}"


def _loser(item: CellComparison) -> str:
    return words.regime_name(item.reference if item.winner == item.regime else item.regime)


def failed_gates(conclusions: Conclusions) -> list[str]:
    """Return each failed check with the arms that it concerns, in words."""
    return [
        gate.name + (f" ({_concerned(gate, conclusions)})" if gate.arms else "")
        for gate in conclusions.gates
        if gate.state == "failed"
    ]


def _concerned(gate: Gate, conclusions: Conclusions) -> str:
    names = [
        f"{words.regime_name(regime)}"
        + (f", {words.cell_label(cell, conclusions)}" if len(conclusions.cells) > 1 else "")
        for cell, regime in gate.arms
    ]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more


def gate_sentence(conclusions: Conclusions) -> str:
    """Return how many checks failed, and which."""
    states = Counter(gate.state for gate in conclusions.gates)
    judged = states["failed"] + states["passed"]
    open_ones = f" {states['not run']} had nothing to judge." if states["not run"] else ""
    if not states["failed"]:
        return f"All {judged} checks passed.{open_ones}"
    named = "; ".join(failed_gates(conclusions))
    return f"{states['failed']} of {judged} checks failed: {named}.{open_ones}"


def is_marked(found: CellComparison, conclusions: Conclusions) -> bool:
    """Tell whether a check failed for one of the two arms."""
    pair = {(found.cell, found.regime), (found.cell, found.reference)}
    return any(gate.state == "failed" and pair & set(gate.arms) for gate in conclusions.gates)


def marked_verdict(found: CellComparison, conclusions: Conclusions) -> str:
    """Return the verdict, with a mark where a check failed for one of the two arms."""
    return words.verdict_of(found) + (f" {MARK}" if is_marked(found, conclusions) else "")


def pooled_sentences(conclusions: Conclusions) -> list[str]:
    """Return what all cells say together, a sentence per regime."""
    return [
        f"Over {pooled.n_targets} cells together, {words.regime_name(pooled.regime)} minus "
        f"{words.regime_name(pooled.reference)} is {words.signed(pooled.estimate)} "
        f"{words.interval(pooled.low, pooled.high)} ({pooled.method}); the true differences of "
        f"cells vary with a standard deviation of {words.score(pooled.between_targets)}."
        for pooled in conclusions.pooled
    ]


def verdict_section(conclusions: Conclusions) -> Section:
    """Return the verdicts and their table."""
    found = [comparison for cell in conclusions.cells for comparison in cell.comparisons]
    caveats = Counter(caveat for item in found for caveat in item.judgement.caveats)
    sentences = [
        f"{words.comparison_label(item, conclusions)}: {words.what_would_decide(item)}"
        for item in found
        if item.decision is Decision.UNDECIDED
    ]
    notes = [_caveat(caveat, count, len(found)) for caveat, count in caveats.items()]
    if any(is_marked(item, conclusions) for item in found):
        notes.insert(0, f"{MARK} A check failed for an arm of this row: see Sanity gates.")
    return Section(
        name="verdicts",
        title="Verdicts",
        points=tuple(sentences) if len(found) > 1 and len(sentences) <= MOST_SENTENCES else (),
        paragraphs=tuple(pooled_sentences(conclusions)),
        notes=tuple(notes),
        tables=(_verdict_table(conclusions),),
    )


def _caveat(caveat: str, count: int, n_cells: int) -> str:
    where = "" if count == n_cells else f" ({count} of {n_cells} comparisons)"
    return f"Note{where}: {caveat}."


def _verdict_table(conclusions: Conclusions) -> PageTable:
    comparison = conclusions.evidence.comparison
    reference, others = words.reference_heading(comparison), comparison.regimes[1:]
    arm = words.regime_name(others[0]) if len(others) == 1 else "arm"
    has_arms = len(others) > 1
    rows = tuple(
        (
            words.cell_label(cell.cell, conclusions),
            *([words.pair_name(found, comparison)] if has_arms else []),
            marked_verdict(found, conclusions),
            words.difference(found.interval) if found.interval else words.MISSING,
            *(
                words.score_interval(cell.arms[regime].intervals.get("tuned"))
                for regime in (found.reference, found.regime)
            ),
        )
        for cell in conclusions.cells
        for found in cell.comparisons
    )
    name = ("arm",) if has_arms else ()
    return PageTable(
        title=f"Test {words.metric(comparison)} of the tuned arms, means over replicates and seeds "
        f"with {comparison.confidence:.0%} intervals; the difference is paired",
        columns=("cell", *name, "verdict", "difference", reference, arm),
        rows=rows,
        text_columns=frozenset({0, 1, len(name) + 1}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def grounds_section(conclusions: Conclusions) -> Section:
    """Return what each verdict rests on: published scores, p values, spreads."""
    return Section(
        name="grounds",
        title="What the verdicts rest on",
        tables=(
            _grounds_table(conclusions),
            _margin_table(conclusions),
            _spread_table(conclusions),
        ),
    )


def _margin_table(conclusions: Conclusions) -> PageTable:
    """Return what the verdicts would be at other margins, and with the published recipe."""
    planned = conclusions.evidence.comparison.margin
    every = [found for cell in conclusions.cells for found in cell.comparisons]
    published = [found for cell in conclusions.cells for found in cell.published]
    by_margin = {
        margin: {_side(found): found for found in at_margin}
        for margin, at_margin in conclusions.at_margins.items()
    }
    untuned = {_side(found): found for found in published}
    rows = tuple(
        (
            words.comparison_label(found, conclusions),
            words.verdict_of(found),
            *(words.verdict_of(each[_side(found)]) for each in by_margin.values()),
            words.verdict_of(untuned[_side(found)]) if _side(found) in untuned else words.MISSING,
        )
        for found in every
    )
    return PageTable(
        title="What the verdict hangs on: other margins, and no tuning at all",
        columns=(
            "cell",
            f"as planned, ±{planned:g}",
            *(f"margin ±{margin:g}" for margin in by_margin),
            "published recipe",
        ),
        rows=rows,
        text_columns=frozenset(range(len(by_margin) + 3)),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def _side(found: CellComparison) -> tuple[CellKey, str, str]:
    return found.cell, found.reference, found.regime


def _grounds_table(conclusions: Conclusions) -> PageTable:
    comparison = conclusions.evidence.comparison
    reference, others = words.reference_heading(comparison), comparison.regimes[1:]
    arm = words.regime_name(others[0]) if len(others) == 1 else "arm"
    rows = tuple(
        (
            words.comparison_label(found, conclusions),
            *(
                words.score_interval(cell.arms[regime].intervals.get("published"))
                for regime in (found.reference, found.regime)
            ),
            words.p_value(corrected.difference)
            if (corrected := found.judgement.corrected)
            else words.MISSING,
            f"{found.share_won:.0%}" if found.interval else words.MISSING,
            _to_decide(found),
        )
        for cell in conclusions.cells
        for found in cell.comparisons
    )
    return PageTable(
        title="With the published recipe; p after Holm's correction; pairs won; replicates that "
        "would probably decide",
        columns=(
            "cell",
            f"published {reference}",
            f"published {arm}",
            "p, Holm",
            "pairs won",
            "to decide",
        ),
        rows=rows,
        text_columns=frozenset({0}),
        is_folded=len(rows) > MOST_ROWS_SHOWN,
    )


def _to_decide(found: CellComparison) -> str:
    if found.decision is not Decision.UNDECIDED or found.interval is None:
        return words.MISSING
    if found.n_replicates <= 2:
        return "at least 3 in all"
    if found.judgement.further_replicates is None:
        return "more will not help"
    return f"{words.further_replicates(found)} more"


def _spread_table(conclusions: Conclusions) -> PageTable:
    seeds = conclusions.evidence.comparison.budget.final_seeds
    rows = tuple(
        (
            words.comparison_label(found, conclusions),
            *(
                words.score(part, digits=4)
                for part in (
                    interval.variances.seeds,
                    interval.variances.replicates,
                    interval.variances.patients,
                    interval.error.standard_error,
                )
            ),
            f"{interval.error.freedom:.1f}",
            f"{found.n_replicates} of {found.n_planned // seeds}",
            f"{len(found.differences)} of {found.n_planned}",
            f"{interval.overlap:.0%}",
            f"{interval.error.n_patients:,}",
        )
        for cell in conclusions.cells
        for found in cell.comparisons
        if (interval := found.interval) is not None
    )
    return PageTable(
        title="Where the uncertainty of the difference comes from, as standard deviations",
        columns=(
            "cell",
            "between seeds",
            "between replicates",
            "patients, of the mean",
            "error of the mean",
            "degrees of freedom",
            "replicates",
            "pairs",
            "of the pool",
            "test patients",
        ),
        rows=rows,
        text_columns=frozenset({0}),
        is_folded=True,
    )
