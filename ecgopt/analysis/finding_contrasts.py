"""Findings about differences between differences: models, upstreams, depths, recipes."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.contrast import contrast
from ecgopt.analysis.interval import Interval
from ecgopt.analysis.verdict import Decision, Rules, decide_together
from ecgopt.evidence.records import CellKey, PretrainEvidence

Outcome = Literal["supported", "refuted", "mixed", "undecided", "no cell for it"]
Judgement = tuple[Outcome, str]
"""An outcome and its grounds."""
NO_CELL: Judgement = ("no cell for it", "")
RECURRENT = ("gru", "lstm", "bilstm")


def outcome(n_holds: int, n_fails: int, n_cells: int) -> Outcome:
    """Return what cells say together.

    A majority decides, unless more than one in ten of those that are decided contradict it.
    """
    if min(n_holds, n_fails) * 10 > n_holds + n_fails:
        return "mixed"
    if n_holds * 2 > n_cells:
        return "supported"
    return "refuted" if n_fails * 2 > n_cells else "undecided"


def suits_cnns(cells: Sequence[CellComparison], rules: Rules) -> Judgement:
    """Return the judgement on C7: whether the gain of CNNs exceeds that of recurrent networks."""
    pairs = [
        (cnn, rnn)
        for cnn, rnn in _pairs(cells, lambda key: (key.upstream, _target(key)))
        if not _is_recurrent(cnn) and _is_recurrent(rnn)
    ]
    reason = "gain of CNNs minus gain of recurrent networks"
    heads = {"pooled" if "pooled" in rnn.cell.model else "flatten head" for _, rnn in pairs}
    if heads:
        reason += f" ({' and '.join(sorted(heads))})"
    return _directed(rules, pairs, reason)


def source_matters(
    cells: Sequence[CellComparison], rules: Rules, pretrainings: Sequence[PretrainEvidence]
) -> Judgement:
    """Return the judgement on C8: whether upstreams differ on the same target.

    With one checkpoint of a source, the source and the luck of its pre-training are one.
    """
    pairs = _pairs(cells, lambda key: (key.model, _target(key)))
    judged, reason = _any_differs(rules, pairs, "differences between upstreams")
    checkpoints: dict[tuple[str, str], set[str]] = {}
    for found in pretrainings:
        checkpoints.setdefault((found.upstream, found.model), set()).add(found.sha256)
    sources = {(each.cell.upstream, each.cell.model) for pair in pairs for each in pair}
    if pairs and any(len(checkpoints.get(source, ())) < 2 for source in sources):
        return "undecided", (
            f"{reason}; each source has one checkpoint, so this is about checkpoints, not sources"
        )
    return judged, reason


def depth_does_not(cells: Sequence[CellComparison], rules: Rules) -> Judgement:
    """Return the judgement on C9: whether ResNets of all depths gain alike."""
    nets = [found for found in cells if _depth(found) is not None]
    pairs = [
        pair
        for pair in _pairs(nets, lambda key: (key.upstream, _target(key)))
        if _depth(pair[0]) != _depth(pair[1])
    ]
    judged, reason = _any_differs(rules, pairs, "differences between depths")
    flipped: dict[Outcome, Outcome] = {"supported": "refuted", "refuted": "supported"}
    return flipped.get(judged, judged), reason


def tuning_sets_the_gap(
    cells: Sequence[CellComparison], published: Sequence[CellComparison], rules: Rules
) -> Judgement:
    """Return the judgement on C10: whether tuning changes the gap of the published recipe."""
    of_cell = {found.cell: found for found in published}
    pairs = [
        (found, of_cell[found.cell])
        for found in cells
        if found.cell in of_cell and of_cell[found.cell].interval is not None
    ]
    return _any_differs(rules, pairs, "the gap after tuning minus the published recipe's")


def _contrasts(
    rules: Rules, pairs: Sequence[tuple[CellComparison, CellComparison]]
) -> tuple[list[Interval], list[Decision]]:
    """Return the pairs' contrasts, and what is decided about each after Holm within the finding."""
    found = [contrast(first, second) for first, second in pairs]
    verdicts = decide_together([each for each in found if each is not None], rules)
    return [verdict.interval for verdict in verdicts], [verdict.decision for verdict in verdicts]


def _any_differs(
    rules: Rules, pairs: Sequence[tuple[CellComparison, CellComparison]], what: str
) -> Judgement:
    intervals, decisions = _contrasts(rules, pairs)
    if not intervals:
        return NO_CELL
    n_different = sum(found in (Decision.HIGHER, Decision.LOWER) for found in decisions)
    largest = max(intervals, key=lambda interval: abs(interval.estimate))
    reason = (
        f"{what}: {n_different} of {len(intervals)} beyond the margin; the largest is "
        f"{_numbers(largest)}"
    )
    if n_different:
        return "supported", reason
    is_equal = all(found is Decision.EQUIVALENT for found in decisions)
    return ("refuted" if is_equal else "undecided"), reason


def _directed(
    rules: Rules, pairs: Sequence[tuple[CellComparison, CellComparison]], what: str
) -> Judgement:
    intervals, decisions = _contrasts(rules, pairs)
    if not intervals:
        return NO_CELL
    n_higher = decisions.count(Decision.HIGHER)
    n_other = len(decisions) - n_higher - decisions.count(Decision.UNDECIDED)
    largest = max(intervals, key=lambda interval: abs(interval.estimate))
    reason = f"{what}: positive in {n_higher} of {len(intervals)}; the largest is "
    return outcome(n_higher, n_other, len(intervals)), reason + _numbers(largest)


def _numbers(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _pairs(
    cells: Sequence[CellComparison], key: Callable[[CellKey], object]
) -> list[tuple[CellComparison, CellComparison]]:
    groups: dict[object, list[CellComparison]] = {}
    for found in cells:
        groups.setdefault(key(found.cell), []).append(found)
    return [pair for group in groups.values() for pair in combinations(_cnns_first(group), 2)]


def _cnns_first(cells: Sequence[CellComparison]) -> list[CellComparison]:
    return sorted(cells, key=_is_recurrent)


def _target(key: CellKey) -> tuple[str, int]:
    return key.downstream, key.n_train


def _is_recurrent(found: CellComparison) -> bool:
    return found.cell.model.startswith(RECURRENT)


def _depth(found: CellComparison) -> int | None:
    digits = found.cell.model.split("-")[0].removeprefix("resnet1d")
    is_resnet = found.cell.model.startswith("resnet1d")
    return int(digits) if is_resnet and digits.isdigit() else None
