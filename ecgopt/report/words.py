"""How numbers and verdicts read, the same in every output."""

import math
import re
from collections.abc import Sequence

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import Conclusions
from ecgopt.analysis.interval import Interval
from ecgopt.analysis.per_label import LabelComparison
from ecgopt.analysis.pooled import Pooled
from ecgopt.analysis.sizes import SizeLadder
from ecgopt.analysis.subgroups import SmallGroup, SubgroupComparison
from ecgopt.analysis.verdict import Decision
from ecgopt.evidence.records import CellKey, Comparison, ParameterValue, PretrainEvidence
from ecgopt.study_file.cells import OWN_NETWORKS, OWN_UPSTREAMS
from ecgopt.training.metrics import decision_metric

REGIME_NAMES = {
    "scratch": "scratch",
    "scratch_twin": "scratch (twin)",
    "fine_tune": "fine-tune",
    "frozen_random": "frozen random",
    "layer_decay": "layer decay",
    "linear_probe": "linear probe",
    "lp_ft": "LP-FT",
    "moment_matched": "moment-matched",
    "svm_probe": "SVM probe",
    "published": "published",
}

MISSING = "–"
NOT_FINISHED = "not finished"
PAPER = "Nguyen & Do 2024, arXiv:2402.02021"
"""The published study whose recipe is trial 0 and whose findings are judged."""


def regime_name(regime: str) -> str:
    """Return a regime's name as people write it."""
    return REGIME_NAMES.get(regime, regime.replace("_", " "))


def score(value: float | None, digits: int = 3) -> str:
    """Return a score in [0, 1], or a dash."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def score_interval(found: Interval | None) -> str:
    """Return a mean score with its interval, or a dash."""
    if found is None:
        return MISSING
    low, high = max(found.low, 0.0), min(found.high, 1.0)
    if not math.isfinite(found.high):
        return f"{score(found.estimate)} [unknown]"
    return f"{score(found.estimate)} [{score(low, 2)}, {score(high, 2)}]"


def listed(parts: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    *some, last = parts
    return f"{', '.join(some)} and {last}" if some else last


def capital(text: str) -> str:
    """Return `text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign (a true minus), or a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text.replace("−0." + "0" * digits, "0." + "0" * digits).replace(
        "+0." + "0" * digits, "0." + "0" * digits
    )


def interval(low: float, high: float, digits: int = 3) -> str:
    """Return an interval of differences in brackets."""
    if math.isinf(low) or math.isinf(high):
        return "[unknown]"
    return f"[{signed(low, digits)}, {signed(high, digits)}]"


def difference(found: Interval) -> str:
    """Return a difference with its interval."""
    return f"{signed(found.estimate)} {interval(found.low, found.high)}"


def with_minus(text: str) -> str:
    """Return `text` with a true minus before numbers."""
    return re.sub(r"(?<![\w)])-(?=\d)", "−", text)


def duration(seconds: float) -> str:
    """Return a length of time with a unit that suits it."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 4 * 86_400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:,.0f} days"


def unit_of_time(longest: float) -> tuple[int, str]:
    """Return the unit for an axis that ends at so many seconds: its seconds, and its name."""
    return next(
        (found for found in ((3600, "hours"), (60, "minutes")) if longest >= 2 * found[0]),
        (1, "seconds"),
    )


def p_value(value: float) -> str:
    """Return a p value to the precision that matters."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def parameter(value: ParameterValue | None) -> str:
    """Return a parameter's value, or a dash where the arm has none."""
    if value is None:
        return MISSING
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def size(value: float) -> str:
    """Return a training size to two digits."""
    rounded = round(value, 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{rounded:,.0f}"


def cell_label(cell: CellKey, conclusions: Conclusions, regime: str | None = None) -> str:
    """Return a cell's name without what all cells share; an only cell has its whole name."""
    shared = _shared_parts(conclusions)
    parts = [part for part in _cell_parts(cell) if part not in shared] or [*_cell_parts(cell)]
    if regime is not None and len(conclusions.evidence.comparison.regimes) > 2:
        parts.append(regime_name(regime))
    return ", ".join(parts)


def pair_name(
    found: CellComparison | LabelComparison | SubgroupComparison | SizeLadder | Pooled,
    comparison: Comparison,
) -> str:
    """Return the name of an arm, with what it is compared with unless that is the first arm."""
    arm = regime_name(found.regime)
    if found.reference == comparison.regimes[0]:
        return arm
    return f"{arm} against {regime_name(found.reference)}"


def comparison_label(
    found: CellComparison | LabelComparison | SubgroupComparison, conclusions: Conclusions
) -> str:
    """Return the cell of a comparison without what all cells share, and its arm if several have."""
    comparison, label = conclusions.evidence.comparison, cell_label(found.cell, conclusions)
    has_arms = len(comparison.regimes) > 2
    return f"{label}, {pair_name(found, comparison)}" if has_arms else label


def reference_heading(comparison: Comparison) -> str:
    """Return the heading of a column of references: a name where all rows have the same."""
    return "reference" if comparison.pairs else regime_name(comparison.regimes[0])


def shared_by_cells(conclusions: Conclusions) -> str:
    """Return what all cells share: data sets, model, training size, or some of them."""
    return ", ".join(_shared_parts(conclusions))


def arm_starts(comparison: Comparison) -> str:
    """Return what the arms of `[arms]` are, in a sentence; an empty text where there are none."""
    told = []
    for name, arm in comparison.arms.items():
        parts = [arm.model or "the network of its cell", regime_name(arm.start)]
        if arm.upstream is not None:
            parts.append(f"from {arm.upstream}")
        told.append(f"{regime_name(name)} is {', '.join(parts)}")
    return f"{capital('; '.join(told))}." if told else ""


def transfer(upstream: str, downstream: str) -> str:
    """Return from where to where a cell transfers; arms with upstreams of their own share none."""
    return downstream if upstream == OWN_UPSTREAMS else f"{upstream} → {downstream}"


def _shared_parts(conclusions: Conclusions) -> list[str]:
    columns = zip(*(_cell_parts(each.cell) for each in conclusions.cells), strict=True)
    return [parts[0] for parts in columns if len(set(parts)) == 1]


def ladder(upstream: str, downstream: str, model: str) -> str:
    """Return what the cells of a ladder of training sizes share."""
    return f"{transfer(upstream, downstream)}, {network(model)}"


def whole_cell(cell: CellKey) -> str:
    """Return a cell's whole name."""
    return f"{ladder(cell.upstream, cell.downstream, cell.model)}, n = {cell.n_train:,}"


def _cell_parts(cell: CellKey) -> tuple[str, str, str]:
    # No-break spaces: a number on the next line belongs to nothing.
    where = transfer(cell.upstream, cell.downstream)
    return (where, network(cell.model), f"n\u00a0=\u00a0{cell.n_train:,}")


def network(label: str) -> str:
    """Return the network of a cell, or that its arms have their own."""
    return "own networks" if label == OWN_NETWORKS else label


def directions(reference: str, regime: str) -> str:
    """Return the label of an axis of differences, regime minus reference."""
    space = "\u2003\u2003"
    return f"← {regime_name(reference)} better{space}{regime_name(regime)} better →"


def metric(comparison: Comparison) -> str:
    """Return the test score that verdicts rest on."""
    return decision_metric(comparison.metric, comparison.metrics).oriented_title


def difference_label(found: Sequence[CellComparison]) -> str:
    """Return the label of an axis of differences of the test score."""
    arms = {regime_name(each.regime) for each in found}
    references = {regime_name(each.reference) for each in found}
    arm = arms.pop() if len(arms) == 1 else "arm"
    reference = references.pop() if len(references) == 1 else "reference"
    name = found[0].metric.oriented_title.removeprefix("macro ")
    return f"Δ {name} ({arm} − {reference})"


OBJECTIVE_SCORES = {
    "multi_label": "validation macro AUROC",
    "label_permuted": "validation macro AUROC of permuted labels",
    "age": "share of the validation ages' variance explained",
    "masked_signal": "share of the hidden validation signal explained",
}


def pretraining(found: PretrainEvidence) -> str:
    """Return what a pre-training was, what it cost and how good it became."""
    weights = f"SHA-256 {found.sha256[:16]}"
    if found.objective not in OBJECTIVE_SCORES:
        return f"{found.objective}, {weights}"
    # Results of versions that knew one objective only have no other score than this.
    value = found.validation_score
    value = found.validation_macro_auroc if value is None else value
    trials = f" of {found.n_trials} trials" if found.n_trials > 1 else ""
    quality = f"{OBJECTIVE_SCORES[found.objective]} {score(value)}"
    return f"{found.n_epochs} epochs{trials}, {quality}, {weights}"


def subgroup(found: SubgroupComparison | SmallGroup) -> str:
    """Return a group of test patients by sex or age as people write it."""
    if not found.group:
        return f"{found.by} not stated"
    return f"age {found.group}" if found.by == "age" else found.group


def verdict_of(comparison: CellComparison | LabelComparison | SubgroupComparison) -> str:
    """Return the verdict as people read it; `not finished` is none, and no verdict."""
    if comparison.decision is Decision.INTERIM:
        return NOT_FINISHED
    if comparison.winner is None:
        return str(comparison.decision)
    return f"{regime_name(comparison.winner)} wins"


def verdict_sentence(comparison: CellComparison) -> str:
    """Return the verdict on one cell as a sentence with its numbers."""
    found = comparison.interval
    if comparison.decision is Decision.INTERIM:
        return _not_finished(comparison)
    assert found is not None
    numbers = difference(found)
    arm, reference = regime_name(comparison.regime), regime_name(comparison.reference)
    if comparison.decision is Decision.EQUIVALENT:
        return f"Equivalent: {arm} minus {reference} is {numbers}, inside ±{comparison.margin:g}."
    if comparison.decision is Decision.UNDECIDED:
        return f"Undecided: {arm} minus {reference} is {numbers}. {what_would_decide(comparison)}"
    winner = verdict_of(comparison)
    return f"{capital(winner)}: {arm} minus {reference} is {numbers}."


def _not_finished(comparison: CellComparison) -> str:
    present = (
        f"{len(comparison.differences)} of {comparison.n_planned} planned pairs of final fits are "
        "done"
    )
    if comparison.interval is None:
        return f"Not finished: {present}. No verdict yet."
    arm, reference = regime_name(comparison.regime), regime_name(comparison.reference)
    return (
        f"Not finished: {present}; {arm} minus {reference} is "
        f"{signed(comparison.interval.estimate)} so far. No verdict before all planned work is "
        "done."
    )


def replicates(comparison: Comparison) -> str:
    """Return the number of replicates, a range where decided cells got no more."""
    counts = comparison.replicates or (comparison.budget.replicates,)
    low, high = min(counts), max(counts)
    if low < high:
        return f"{low} to {high} replicates"
    return f"{high} replicate{'s' * (high != 1)}"


def seeds(count: int) -> str:
    """Return the number of seeds of final fits."""
    return f"{count} final seed{'s' * (count != 1)}"


def looks(comparison: Comparison, level_left: float) -> str:
    """Return the looks taken and the level left; empty where one look was planned."""
    if comparison.most_replicates is None:
        return ""
    counts = list(map(str, (*comparison.looks, comparison.budget.replicates)))
    alpha = 1 - comparison.confidence
    return (
        f"{len(counts)} look{'s' * (len(counts) != 1)} of a plan for at most "
        f"{comparison.most_replicates} replicates, at {', '.join(counts)}; {level_left:.2g} of the "
        f"level {alpha:.2g} is left"
    )


def further_replicates(comparison: CellComparison) -> str:
    """Return how many more replicates would decide, as a range, or a dash."""
    further = comparison.judgement.further_replicates
    if further is None:
        return MISSING
    low, high = further
    return f"{low} or many" if high is None else f"{low} to {high}" if high > low else f"{low}"


def what_would_decide(comparison: CellComparison) -> str:
    """Return what would turn an undecided comparison into a decided one."""
    judgement = comparison.judgement
    if comparison.n_replicates == 1:
        return "One replicate never decides: use at least 3."
    if comparison.n_replicates == 2:
        return "Two replicates hardly know their spread: use at least 3."
    if judgement.further_replicates is None:
        return "More replicates alone are unlikely to decide it."
    low, high = judgement.further_replicates
    number = f"{low} or many" if high is None else further_replicates(comparison)
    needed = (
        f"{number} more replicates would probably decide it: the first number if the estimate is "
        "right, the second if the truth is a standard error nearer to 0"
    )
    if judgement.level_left > 0:
        return f"{needed}."
    return (
        f"{needed}; but this look spent the whole level, so they belong in a new study, or in one "
        "with `most` in [verdict]."
    )
