"""Each arm against the reference, cell by cell: paired, with interval and verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import Interval, PairedDifference, estimate_mean, subtract
from ecgopt.analysis.mean_error import FEW
from ecgopt.analysis.power import further_replicates
from ecgopt.analysis.spending import Look, this_look
from ecgopt.analysis.verdict import (
    MIN_REPLICATES_TO_DECIDE,
    Decision,
    PValues,
    Rules,
    Verdict,
    decide_together,
)
from ecgopt.evidence.records import (
    CellKey,
    Comparison,
    Evidence,
    FinalEvidence,
    FinalRole,
)
from ecgopt.training.metrics import PRIMARY

InfluenceOf = Callable[[FinalEvidence], PatientInfluence | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is decided about one difference, and on what grounds."""

    decision: Decision
    """About the arm's score minus the reference's."""
    tests: PValues | None
    corrected: PValues | None
    """After Holm's correction over all arms and cells."""
    level: float
    """At or below which a corrected p value decides, at this look."""
    level_left: float
    """For later looks; 0 where an extension would decide nothing more."""
    further_replicates: tuple[int, int | None] | None
    """That would probably decide it: if the estimate is right, and if the true difference is a
    standard error nearer to zero. None where it is decided, or where no number would."""
    caveats: tuple[str, ...]


_NOT_JUDGED = Judgement(
    decision=Decision.INTERIM,
    tests=None,
    corrected=None,
    level=0.0,
    level_left=0.0,
    further_replicates=None,
    caveats=("no pair of final fits is complete yet",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """One arm against the reference in one cell."""

    cell: CellKey
    reference: str
    regime: str
    role: FinalRole
    differences: Mapping[Pair, PairedDifference]
    n_planned: int
    """Pairs of final fits: replicates times seeds."""
    interval: Interval | None
    """None while no pair of finals is complete."""
    margin: float
    judgement: Judgement

    @property
    def decision(self) -> Decision:
        """What is decided about the arm's score minus the reference's."""
        return self.judgement.decision

    @property
    def winner(self) -> str | None:
        """The arm that wins, by name; None where no arm does."""
        return {Decision.HIGHER: self.regime, Decision.LOWER: self.reference}.get(self.decision)

    @property
    def verdict(self) -> str:
        """`NAME wins`, `equivalent`, `undecided` or `interim`."""
        return str(self.decision) if self.winner is None else f"{self.winner} wins"

    @property
    def n_replicates(self) -> int:
        """Replicates with at least one complete pair."""
        return len({replicate for replicate, _ in self.differences})

    @property
    def share_won(self) -> float:
        """Share of pairs in which the regime scored higher, ties counting one half."""
        values = [difference.value for difference in self.differences.values()]
        return sum((value > 0) + 0.5 * (value == 0) for value in values) / max(len(values), 1)


def compare_cells(
    evidence: Evidence,
    influence_of: InfluenceOf,
    *,
    role: FinalRole = "tuned",
    reference: str | None = None,
    others: Sequence[str] | None = None,
) -> list[CellComparison]:
    """Return arms against a reference in each cell, Holm-corrected over all of them.

    Args:
        evidence: Of one comparison.
        influence_of: Gives a final fit's patient influences, or None where they are not kept.
        role: Which final fits are compared.
        reference: Name of the reference arm; the study file's first arm by default.
        others: Names of the arms compared with it; all other arms by default.
    """
    comparison = evidence.comparison
    reference = comparison.regimes[0] if reference is None else reference
    if others is None:
        others = [name for name in comparison.regimes if name != reference]
    arms = sort_into_arms(evidence)
    compared = [(of_cell[reference], of_cell[name]) for name in others for of_cell in arms.values()]
    differences = [pair_finals(*both, influence_of, role=role) for both in compared]
    rules, look = rules_of(comparison)
    verdicts = iter(
        decide_together(
            [
                estimate_mean(found, overlap=_overlap(ours))
                for (_, ours), found in zip(compared, differences, strict=True)
                if found
            ],
            rules,
            n_verdicts=len(compared),
        )
    )
    n_planned = comparison.budget.replicates * comparison.budget.final_seeds
    is_running = _is_running(evidence, compared, role, n_planned)
    found = []
    for (theirs, ours), differing in zip(compared, differences, strict=True):
        verdict = next(verdicts) if differing else None
        is_whole = len(differing) >= n_planned and not is_running
        found.append(
            CellComparison(
                cell=ours.cell,
                reference=theirs.regime,
                regime=ours.regime,
                role=role,
                differences=differing,
                n_planned=n_planned,
                interval=verdict.interval if verdict else None,
                margin=comparison.margin,
                judgement=_judge(verdict, rules, look, len(compared), is_whole=is_whole),
            )
        )
    return found


def rules_of(comparison: Comparison) -> tuple[Rules, Look]:
    """Return the rules of the present look; one replicate decides nothing and costs no level."""
    counts = (*comparison.looks, comparison.budget.replicates)
    looks = [count for count in counts if count >= MIN_REPLICATES_TO_DECIDE] or [counts[-1]]
    look = this_look(looks, comparison.most_replicates, alpha=1 - comparison.confidence)
    rules = Rules(margin=comparison.margin, confidence=comparison.confidence, level=look.level)
    return rules, look


def _overlap(arm: Arm) -> float:
    """Return the largest share of the pool's records that a replicate of the arm draws."""
    pools = [study.split.get("n_pool") for study in arm.studies]
    return max((arm.cell.n_train / int(pool) for pool in pools if pool), default=0.0)


def _is_running(
    evidence: Evidence, compared: Sequence[tuple[Arm, Arm]], role: FinalRole, n_planned: int
) -> bool:
    """Tell whether planned final fits are missing that were not given up."""
    arms = {
        (arm.regime, *(study.study for study in arm.studies)): arm
        for both in compared
        for arm in both
    }
    missing = sum(max(n_planned - len(arm.finals_by_pair(role)), 0) for arm in arms.values())
    given_up = sum(
        str(item["item"]).startswith("final/") and f"/{role}/" in str(item["item"])
        for item in evidence.set_aside
    )
    return missing > given_up


def pair_finals(
    reference: Arm,
    arm: Arm,
    influence_of: InfluenceOf,
    *,
    role: FinalRole,
    against: FinalRole | None = None,
) -> dict[Pair, PairedDifference]:
    """Return arm minus reference wherever both have a final of equal replicate and seed index.

    Args:
        reference: The arm that is subtracted.
        arm: The other, which may be the same.
        influence_of: Gives a final fit's patient influences, or None where they are not kept.
        role: Which final fits of the arm.
        against: Which final fits of the reference; those of the same role by default.
    """
    ours, theirs = arm.finals_by_pair(role), reference.finals_by_pair(against or role)
    return {
        pair: subtract(_scored(ours[pair], influence_of), _scored(theirs[pair], influence_of))
        for pair in ours
        if pair in theirs
    }


def _scored(final: FinalEvidence, influence_of: InfluenceOf) -> PairedDifference:
    return PairedDifference(value=final.metrics[PRIMARY], influence=influence_of(final))


def _judge(
    verdict: Verdict | None, rules: Rules, look: Look, n_verdicts: int, *, is_whole: bool
) -> Judgement:
    if verdict is None:
        return _NOT_JUDGED
    interval, decision = verdict.interval, verdict.decision
    left = max(1 - rules.confidence - look.spent, 0.0)
    caveats = list(_caveats(interval))
    if not is_whole:
        caveats.append("planned work is missing: numbers are of what is there, without a verdict")
        return Judgement(
            decision=Decision.INTERIM,
            tests=verdict.tests,
            corrected=verdict.corrected,
            level=look.level,
            level_left=left,
            further_replicates=None,
            caveats=tuple(caveats),
        )
    if look.level < 1 - rules.confidence:
        caveats.append(
            f"this look, at {look.replicates} replicates, decides at the level {look.level:.2g}; "
            f"{left:.2g} of {1 - rules.confidence:.2g} is left for later ones"
        )
    is_beyond = abs(interval.estimate) > rules.margin
    if decision is Decision.UNDECIDED and verdict.tests.difference <= rules.level and is_beyond:
        caveats.append(
            "its own p value would suffice, but not after Holm's correction for all "
            f"{n_verdicts} verdicts"
        )
    further = None
    if decision is Decision.UNDECIDED:
        further = further_replicates(interval, rules, n_verdicts=n_verdicts)
    return Judgement(
        decision=decision,
        tests=verdict.tests,
        corrected=verdict.corrected,
        level=look.level,
        level_left=left,
        further_replicates=further,
        caveats=tuple(caveats),
    )


def _caveats(interval: Interval) -> Iterator[str]:
    error = interval.error
    if not error.is_known:
        yield "one pair without predictions: its uncertainty cannot be known"
    elif error.n_patients == 0:
        yield "predictions were not kept: the interval lacks the patients' part"
    if interval.n_replicates < MIN_REPLICATES_TO_DECIDE:
        yield (
            "one replicate is always undecided: the interval holds seeds and patients only, not "
            "what another subset, split or search would give"
        )
    elif interval.overlap >= 1:
        yield (
            "all replicates train on the same records, the whole pool: what other records would "
            "give cannot be known, so nothing is decided"
        )
    elif error.freedom < FEW:
        yield (
            f"the spread between replicates rests on {error.freedom:.1f} degrees of freedom, so "
            "the interval is very wide: add replicates or cells"
        )
    if 0 < interval.overlap < 1 and interval.n_replicates > 1:
        yield (
            f"each replicate draws {interval.overlap:.0%} of the pool's records, so replicates "
            "share records: the interval is wider by what more replicates cannot tell"
        )
