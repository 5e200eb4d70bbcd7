"""The published study's findings C1-C10, each judged where a comparison holds the cells for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm, budget_trials
from ecgopt.analysis.compare import CellComparison, rules_of
from ecgopt.analysis.convergence import common_target, reach
from ecgopt.analysis.cost import Cost, arm_cost
from ecgopt.analysis.finding_contrasts import (
    NO_CELL,
    Judgement,
    Outcome,
    depth_does_not,
    outcome,
    source_matters,
    suits_cnns,
    tuning_sets_the_gap,
)
from ecgopt.analysis.mean_error import MeanError
from ecgopt.analysis.sizes import SizeLadder
from ecgopt.analysis.verdict import Decision, Rules, holm
from ecgopt.evidence.records import CellKey, Evidence, FinalEvidence

SCRATCH, FINE_TUNE = "scratch", "fine_tune"
"""The two arms that the published study compared; its findings are about no others."""

SMALL = 1_000
"""Training sizes up to this count as small."""
LARGE = 5_000
"""Training sizes from this on count as large."""
FEWEST_TARGETS = 2
"""Downstream data sets that a general statement rests on."""
FEWEST_UNITS = 3
"""Replicates, over all cells, from which a spread is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding, and what this comparison says about it."""

    name: str
    text: str
    outcome: Outcome
    grounds: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGrounds:
    """What findings are judged on: fine-tuning minus scratch."""

    evidence: Evidence
    arms: dict[CellKey, dict[str, Arm]]
    tuned: Sequence[CellComparison]
    published: Sequence[CellComparison]
    ladders: Sequence[SizeLadder]

    @property
    def confidence(self) -> float:
        """Of intervals."""
        return self.evidence.comparison.confidence

    @property
    def rules(self) -> Rules:
        """By which contrasts are judged."""
        return rules_of(self.evidence.comparison)

    @property
    def judged(self) -> list[CellComparison]:
        """Cells whose planned work is done."""
        return [found for found in self.tuned if found.decision is not Decision.INTERIM]


def judge_findings(grounds: FindingGrounds) -> tuple[Finding, ...]:
    """Return the ten findings with their outcomes."""
    found = []
    for name, (text, judge) in _FINDINGS.items():
        judged, reason = judge(grounds)
        found.append(Finding(name=name, text=text, outcome=judged, grounds=reason))
    return tuple(found)


def _small_targets(grounds: FindingGrounds) -> Judgement:
    cells = [found for found in grounds.judged if found.cell.n_train <= SMALL]
    return _share_of(cells, holds=(Decision.HIGHER,), fails=(Decision.LOWER, Decision.EQUIVALENT))


def _not_always(grounds: FindingGrounds) -> Judgement:
    """Judge a statement of existence: one cell proves it, and no number of cells refutes it."""
    cells = [found for found in grounds.judged if found.cell.n_train <= SMALL]
    if not cells:
        return NO_CELL
    counter = [found for found in cells if found.decision in (Decision.LOWER, Decision.EQUIVALENT)]
    reason = f"{len(counter)} of {len(cells)} small cells show no gain from transfer"
    return ("supported" if counter else "undecided"), f"{reason} ({_rests_on(cells)})"


def _falls_with_size(grounds: FindingGrounds) -> Judgement:
    """Judge ladders that begin with a gain; harm that grows with size is no gain that falls."""
    if not grounds.ladders:
        return NO_CELL
    alpha = 1 - grounds.confidence
    corrected = holm([ladder.p_slope for ladder in grounds.ladders])
    clear = [ladder for ladder, p in zip(grounds.ladders, corrected, strict=True) if p <= alpha]
    falling = [ladder for ladder in clear if ladder.slope < 0 and _begins_with_gain(ladder)]
    rising = [ladder for ladder in clear if ladder.slope > 0]
    slopes = ", ".join(
        f"{ladder.slope:+.3f} [{ladder.slope_low:+.3f}, {ladder.slope_high:+.3f}]"
        for ladder in grounds.ladders[:4]
    )
    reason = f"{len(grounds.ladders)} ladders, change per tenfold size: {slopes}"
    return outcome(len(falling), len(rising), len(grounds.ladders)), reason


def _begins_with_gain(ladder: SizeLadder) -> bool:
    return ladder.intercept + ladder.slope * math.log10(ladder.sizes[0]) > 0


def _catches_up(grounds: FindingGrounds) -> Judgement:
    cells = [found for found in grounds.judged if found.cell.n_train >= LARGE]
    return _share_of(cells, holds=(Decision.EQUIVALENT, Decision.LOWER), fails=(Decision.HIGHER,))


def _scratch_takes_longer(grounds: FindingGrounds) -> Judgement:
    """Judge paired fits; one that never reaches the score took longer than it was trained.

    Pairs are scored as in Gehan 1965, Biometrika 52:203: 1 where scratch surely took longer, -1
    where fine-tuning did, 0 where the shorter training leaves that open.
    """
    units, ratios, n_never = [], [], 0
    for arms in grounds.arms.values():
        pair = arms[SCRATCH], arms[FINE_TUNE]
        if (target := common_target(pair)) is None:
            continue
        theirs, ours = (arm.finals_by_pair("tuned") for arm in pair)
        of_replicate: dict[int, list[int]] = {}
        for key in theirs.keys() & ours.keys():
            scratch, fine_tune = (_epochs_to(fits[key], target) for fits in (theirs, ours))
            of_replicate.setdefault(key[0], []).append(_longer(scratch, fine_tune))
            n_never += not scratch.is_reached
            if scratch.is_reached and fine_tune.is_reached:
                ratios.append(math.log(scratch.epochs / fine_tune.epochs))
        units += [float(np.mean(scores)) for scores in of_replicate.values()]
    if not units:
        return NO_CELL
    reason = f"{len(units)} replicates"
    if ratios:
        factor = math.exp(float(np.mean(ratios)))
        reason += f", scratch takes {factor:.1f} times the epochs where both reach a common score"
    reason += f"; {n_never} scratch fits never reach it"
    if len(units) < FEWEST_UNITS:
        return "undecided", reason
    mean, low, high = _mean_interval(units, grounds.confidence)
    reason += f"; share of pairs longer minus share shorter {mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    return ("supported" if low > 0 else "refuted" if high < 0 else "undecided"), reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Time:
    """Epochs until a score was reached, or that were trained without reaching it."""

    epochs: int
    is_reached: bool


def _epochs_to(final: FinalEvidence, target: float) -> _Time:
    reached = reach(final, target) if final.curve else None
    if reached is None:
        return _Time(epochs=len(final.curve), is_reached=False)
    return _Time(epochs=reached.epochs, is_reached=True)


def _longer(first: _Time, second: _Time) -> int:
    """Return 1 where the first surely took longer, -1 where the second did, otherwise 0."""
    if second.is_reached and first.epochs >= second.epochs + first.is_reached:
        return 1
    if first.is_reached and second.epochs >= first.epochs + second.is_reached:
        return -1
    return 0


def _is_cheaper(grounds: FindingGrounds) -> Judgement:
    """Judge by training samples: both arms train one network, so samples stand for operations."""
    without, in_full, seconds = [], [], []
    for arms in grounds.arms.values():
        reference, arm = arms[SCRATCH], arms[FINE_TUNE]
        pretraining = arm_cost(arm, grounds.evidence).pretraining.samples
        theirs, ours = (_cost_by_replicate(each) for each in (reference, arm))
        for replicate in theirs.keys() & ours.keys():
            once, again = theirs[replicate], ours[replicate]
            without.append(math.log(again.samples / once.samples))
            in_full.append(math.log((again.samples + pretraining) / once.samples))
            seconds.append(again.seconds / once.seconds if once.seconds else math.nan)
    if not without:
        return NO_CELL
    if len(without) < FEWEST_UNITS:
        return "undecided", f"{len(without)} replicates are too few"
    free, full = (_mean_interval(each, grounds.confidence) for each in (without, in_full))
    texts = (
        f"{math.exp(mean):.2f} [{math.exp(low):.2f}, {math.exp(high):.2f}]"
        for mean, low, high in (free, full)
    )
    reason = (
        f"tuning and final fits take {next(texts)} times the samples of scratch, and {next(texts)} "
        f"with pre-training in full; {float(np.mean(seconds)):.2f} times the seconds, on whatever "
        "machines they ran"
    )
    if full[2] < 0:
        return "supported", reason
    if free[1] > 0:
        return "refuted", reason
    return ("mixed" if free[2] < 0 and full[1] > 0 else "undecided"), reason


def _cost_by_replicate(arm: Arm) -> dict[int, Cost]:
    """Return what tuning and tuned final fits took, of replicates that have both."""
    found = {}
    for study in arm.studies:
        finals = [f for (r, _), f in arm.finals_by_pair("tuned").items() if r == study.replicate]
        cost = Cost.of([*budget_trials(study.trials), *finals])
        if finals and cost.samples:
            found[study.replicate] = cost
    return found


def _mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    error = MeanError(
        run_variance=float(np.var(values, ddof=1)),
        freedom=len(values) - 1,
        patient_variance=0.0,
        n_units=len(values),
        n_patients=0,
    )
    middle, half = float(np.mean(values)), error.reach(confidence)
    return middle, middle - half, middle + half


_FINDINGS: dict[str, tuple[str, Callable[[FindingGrounds], Judgement]]] = {
    "C1": ("Small targets favour fine-tuning", _small_targets),
    "C2": ("Fine-tuning does not always help on small targets", _not_always),
    "C3": ("The gain falls as the target grows", _falls_with_size),
    "C4": ("With enough data, scratch catches up", _catches_up),
    "C5": ("Scratch needs longer training", _scratch_takes_longer),
    "C6": ("Fine-tuning is cheaper", _is_cheaper),
    "C7": ("CNNs gain more than recurrent networks", lambda g: suits_cnns(g.judged, g.rules)),
    "C8": (
        "The source matters",
        lambda g: source_matters(g.judged, g.rules, g.evidence.pretrainings),
    ),
    "C9": ("Depth does not matter", lambda g: depth_does_not(g.judged, g.rules)),
    "C10": (
        "Tuning sets the size or the sign of the gap",
        lambda g: tuning_sets_the_gap(g.judged, g.published, g.rules),
    ),
}


def _share_of(
    cells: Sequence[CellComparison], *, holds: Sequence[Decision], fails: Sequence[Decision]
) -> Judgement:
    """Judge a general statement, which takes more than one target."""
    if not cells:
        return NO_CELL
    n_holds = sum(found.decision in holds for found in cells)
    n_fails = sum(found.decision in fails for found in cells)
    wanted = " or ".join(_DECISION_WORDS[decision] for decision in holds)
    reason = f"{wanted} in {n_holds} of {len(cells)} cells"
    if n_fails:
        reason += f", the opposite in {n_fails}"
    reason += f" ({_rests_on(cells)})"
    if len({found.cell.downstream for found in cells}) < FEWEST_TARGETS:
        return "undecided", f"{reason}: one target does not carry a general statement"
    return outcome(n_holds, n_fails, len(cells)), reason


def _rests_on(cells: Sequence[CellComparison]) -> str:
    """Return how many targets, sources and networks the cells are of."""
    counts = [
        (len({getattr(found.cell, part) for found in cells}), name)
        for part, name in (("downstream", "target"), ("upstream", "source"), ("model", "network"))
    ]
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts)


_DECISION_WORDS = {
    Decision.HIGHER: "fine-tuning wins",
    Decision.LOWER: "scratch wins",
    Decision.EQUIVALENT: "equivalent",
}
