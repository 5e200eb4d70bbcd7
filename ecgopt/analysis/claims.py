"""The published study's claims C1-C10, each judged where a comparison holds the cells for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm
from ecgopt.analysis.claim_contrasts import (
    NO_CELL,
    Judgement,
    Outcome,
    depth_does_not,
    outcome,
    source_matters,
    suits_cnns,
    tuning_sets_the_gap,
)
from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.convergence import common_target, converge
from ecgopt.analysis.cost import arm_cost
from ecgopt.analysis.mean_error import MeanError
from ecgopt.analysis.sizes import SizeLadder
from ecgopt.analysis.verdict import Decision, Rules
from ecgopt.evidence.records import CellKey, Evidence

SCRATCH, FINE_TUNE = "scratch", "fine_tune"
"""The two arms that the published study compared; its claims are about no others."""

SMALL = 1_000
"""Training sizes up to this count as small."""
LARGE = 5_000
"""Training sizes from this on count as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim, and what this comparison says about it."""

    name: str
    text: str
    outcome: Outcome
    grounds: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimGrounds:
    """What claims are judged on: fine-tuning minus scratch."""

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
        margin = self.evidence.comparison.margin
        return Rules.of_one_look(margin=margin, confidence=self.confidence)

    @property
    def judged(self) -> list[CellComparison]:
        """Cells that have an interval."""
        return [found for found in self.tuned if found.interval is not None]


def judge_claims(grounds: ClaimGrounds) -> tuple[Claim, ...]:
    """Return the ten claims with their outcomes."""
    found = []
    for name, (text, judge) in _CLAIMS.items():
        judged, reason = judge(grounds)
        found.append(Claim(name=name, text=text, outcome=judged, grounds=reason))
    return tuple(found)


def _small_targets(grounds: ClaimGrounds) -> Judgement:
    cells = [found for found in grounds.judged if found.cell.n_train <= SMALL]
    return _share_of(cells, holds=(Decision.HIGHER,), fails=(Decision.LOWER, Decision.EQUIVALENT))


def _not_always(grounds: ClaimGrounds) -> Judgement:
    cells = [found for found in grounds.judged if found.cell.n_train <= SMALL]
    if not cells:
        return NO_CELL
    counter = [found for found in cells if found.decision in (Decision.LOWER, Decision.EQUIVALENT)]
    reason = f"{len(counter)} of {len(cells)} small cells show no gain from transfer"
    if counter:
        return "supported", reason
    wins = all(found.decision is Decision.HIGHER for found in cells)
    return ("refuted" if wins else "undecided"), reason


def _falls_with_size(grounds: ClaimGrounds) -> Judgement:
    if not grounds.ladders:
        return NO_CELL
    alpha = 1 - grounds.confidence
    falling = [ladder for ladder in grounds.ladders if ladder.slope < 0 and ladder.p_slope < alpha]
    rising = [ladder for ladder in grounds.ladders if ladder.slope > 0 and ladder.p_slope < alpha]
    slopes = ", ".join(
        f"{ladder.slope:+.3f} [{ladder.slope_low:+.3f}, {ladder.slope_high:+.3f}]"
        for ladder in grounds.ladders[:4]
    )
    reason = f"change per tenfold size: {slopes}"
    return outcome(len(falling), len(rising), len(grounds.ladders)), reason


def _catches_up(grounds: ClaimGrounds) -> Judgement:
    cells = [found for found in grounds.judged if found.cell.n_train >= LARGE]
    return _share_of(cells, holds=(Decision.EQUIVALENT, Decision.LOWER), fails=(Decision.HIGHER,))


def _scratch_takes_longer(grounds: ClaimGrounds) -> Judgement:
    ratios = []
    for arms in grounds.arms.values():
        pair = arms[SCRATCH], arms[FINE_TUNE]
        if (target := common_target(pair)) is None:
            continue
        reference, arm = (converge(each, target) for each in pair)
        if reference is None or arm is None:
            continue
        ours, theirs = (
            [reached.epochs for reached in each.common_target if reached is not None]
            for each in (arm, reference)
        )
        if ours and theirs:
            ratios.append(float(np.log(np.mean(theirs)) - np.log(np.mean(ours))))
    if not ratios:
        return NO_CELL
    factor = float(np.exp(np.mean(ratios)))
    reason = f"scratch takes {factor:.1f} times the epochs of fine-tuning to a common score"
    if len(ratios) < 2:
        return "undecided", f"{reason}, in one cell"
    error = MeanError(
        run_variance=float(np.var(ratios, ddof=1)),
        freedom=len(ratios) - 1,
        patient_variance=0.0,
        n_units=len(ratios),
        n_patients=0,
    )
    middle, half = float(np.mean(ratios)), error.reach(grounds.confidence)
    low, high = middle - half, middle + half
    reason += f" [{np.exp(low):.1f}, {np.exp(high):.1f}], over {len(ratios)} cells"
    return ("supported" if low > 0 else "refuted" if high < 0 else "undecided"), reason


def _is_cheaper(grounds: ClaimGrounds) -> Judgement:
    with_pretraining, without, n_cells = 0, 0, 0
    for arms in grounds.arms.values():
        pair = arms[SCRATCH], arms[FINE_TUNE]
        if not all(arm.finals for arm in pair):
            continue
        reference, arm = (arm_cost(each, grounds.evidence) for each in pair)
        n_cells += 1
        without += arm.per_target.seconds < reference.per_target.seconds
        with_pretraining += (
            arm.per_target.seconds + arm.pretraining.seconds < reference.per_target.seconds
        )
    if not n_cells:
        return NO_CELL
    reason = (
        f"cheaper in {without} of {n_cells} cells without pre-training, in {with_pretraining} with "
        "it in full (tuning and final fits, seconds)"
    )
    if with_pretraining == n_cells:
        return "supported", reason
    return ("refuted" if without == 0 else "mixed"), reason


_CLAIMS: dict[str, tuple[str, Callable[[ClaimGrounds], Judgement]]] = {
    "C1": ("Small targets favour fine-tuning", _small_targets),
    "C2": ("Fine-tuning does not always help on small targets", _not_always),
    "C3": ("The gain falls as the target grows", _falls_with_size),
    "C4": ("With enough data, scratch catches up", _catches_up),
    "C5": ("Scratch needs longer training", _scratch_takes_longer),
    "C6": ("Fine-tuning is cheaper", _is_cheaper),
    "C7": ("CNNs gain more than recurrent networks", lambda g: suits_cnns(g.judged, g.rules)),
    "C8": ("The source matters", lambda g: source_matters(g.judged, g.rules)),
    "C9": ("Depth does not matter", lambda g: depth_does_not(g.judged, g.rules)),
    "C10": (
        "Tuning sets the size or the sign of the gap",
        lambda g: tuning_sets_the_gap(g.judged, g.published, g.rules),
    ),
}


def _share_of(
    cells: Sequence[CellComparison], *, holds: Sequence[Decision], fails: Sequence[Decision]
) -> Judgement:
    if not cells:
        return NO_CELL
    n_holds = sum(found.decision in holds for found in cells)
    n_fails = sum(found.decision in fails for found in cells)
    wanted = " or ".join(_DECISION_WORDS[decision] for decision in holds)
    reason = f"{wanted} in {n_holds} of {len(cells)} cells"
    if n_fails:
        reason += f", the opposite in {n_fails}"
    return outcome(n_holds, n_fails, len(cells)), reason


_DECISION_WORDS = {
    Decision.HIGHER: "fine-tuning wins",
    Decision.LOWER: "scratch wins",
    Decision.EQUIVALENT: "equivalent",
}
