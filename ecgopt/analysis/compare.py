"""Pairs of arms, cell by cell: their difference with interval and verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import Interval, PairedDifference, Shared, estimate_mean, subtract
from ecgopt.analysis.mean_error import FEW
from ecgopt.analysis.moderation import moderated_errors
from ecgopt.analysis.power import further_replicates
from ecgopt.analysis.spending import looks_so_far
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
from ecgopt.training.metrics import METRICS, PRIMARY, Metric

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
    """At or below which a corrected p value decides, at the present look or the one that decided.
    """
    decided_at: int | None
    """Replicates at the look that decided; None while it is not decided."""
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
    decided_at=None,
    level_left=0.0,
    further_replicates=None,
    caveats=("no pair of final fits is complete yet",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDifferences:
    """One arm minus another in one cell; the other is the reference."""

    cell: CellKey
    reference: str
    regime: str
    differences: Mapping[Pair, PairedDifference]

    @property
    def share_won(self) -> float:
        """Share of pairs in which the regime scored higher, ties counting one half."""
        values = [difference.value for difference in self.differences.values()]
        return sum((value > 0) + 0.5 * (value == 0) for value in values) / max(len(values), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison(CellDifferences):
    """What is decided about one arm against another in one cell."""

    role: FinalRole
    n_planned: int
    """Pairs of final fits: replicates times seeds."""
    interval: Interval | None
    """None while no pair of finals is complete."""
    margin: float
    judgement: Judgement
    metric: Metric = METRICS[PRIMARY]
    """What is compared."""

    @property
    def decision(self) -> Decision:
        """What is decided about the arm's score minus the reference's."""
        return self.judgement.decision

    @property
    def winner(self) -> str | None:
        """The arm that wins, by name; None where no arm does."""
        return self.decision.winner(self.reference, self.regime)

    @property
    def verdict(self) -> str:
        """`NAME wins`, `equivalent`, `undecided` or `interim`."""
        return str(self.decision) if self.winner is None else f"{self.winner} wins"

    @property
    def n_replicates(self) -> int:
        """Replicates with at least one complete pair."""
        return len({replicate for replicate, _ in self.differences})


def compare_cells(
    evidence: Evidence,
    influence_of: InfluenceOf,
    *,
    role: FinalRole = "tuned",
    pairs: Sequence[tuple[str, str]] | None = None,
) -> list[CellComparison]:
    """Return pairs of arms in each cell, Holm-corrected over all of them.

    Args:
        evidence: Of one comparison.
        influence_of: Gives a final fit's patient influences, or None where they are not kept.
        role: Which final fits are compared.
        pairs: Names of reference and arm; by default the pairs that the study file asks for.
    """
    comparison = evidence.comparison
    arms = sort_into_arms(evidence)
    compared = [
        (of_cell[reference], of_cell[name])
        for reference, name in (comparison.contrasts if pairs is None else pairs)
        for of_cell in arms.values()
    ]
    contrasts = [
        _Contrast(
            reference=theirs,
            arm=ours,
            differences=pair_finals(theirs, ours, influence_of, role=role),
            n_replicates=comparison.replicates_of(ours.cell),
        )
        for theirs, ours in compared
    ]
    found = _decide_look_by_look(contrasts, comparison)
    seeds = comparison.budget.final_seeds
    is_running = _is_running(evidence, contrasts, role)
    return [
        CellComparison(
            cell=each.arm.cell,
            reference=each.reference.regime,
            regime=each.arm.regime,
            role=role,
            differences=each.differences,
            n_planned=each.n_replicates * seeds,
            interval=verdict.verdict.interval if verdict else None,
            margin=comparison.margin,
            judgement=_judge(
                verdict,
                comparison,
                len(compared),
                is_whole=len(each.differences) >= each.n_replicates * seeds and not is_running,
            ),
            metric=each.arm.metric,
        )
        for each, verdict in zip(contrasts, found, strict=True)
    ]


def verdicts_at_margins(
    evidence: Evidence, influence_of: InfluenceOf, factors: Sequence[float]
) -> dict[float, list[CellComparison]]:
    """Return what `compare_cells` says at other margins, by the margin.

    They show how much a verdict hangs on the margin, and decide nothing.

    Args:
        evidence: Of one comparison.
        influence_of: As in `compare_cells`.
        factors: What the study file's margin is multiplied by.
    """
    comparison = evidence.comparison
    return {
        margin: compare_cells(
            replace(evidence, comparison=replace(comparison, margin=margin)), influence_of
        )
        for margin in (factor * comparison.margin for factor in factors)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    """The paired final fits of an arm and the reference in one cell."""

    reference: Arm
    arm: Arm
    differences: Mapping[Pair, PairedDifference]
    n_replicates: int
    """Planned."""

    def up_to(self, n_replicates: int) -> dict[Pair, PairedDifference]:
        """Return the differences of the first replicates."""
        return {pair: each for pair, each in self.differences.items() if pair[0] < n_replicates}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """The verdict on a contrast at the present look, or the one that an earlier look gave."""

    verdict: Verdict
    rules: Rules
    """Of the look that decided, or of the present one."""
    is_earlier: bool = False


def _decide_look_by_look(
    contrasts: Sequence[_Contrast], comparison: Comparison
) -> list[_Decided | None]:
    """Return what is decided about each contrast; None where it has no pair.

    What an earlier look of a plan decided stands: it was paid for. Intervals are of all that is
    there.
    """
    earlier: dict[int, _Decided] = {}
    present: dict[int, _Decided] = {}
    looks = _all_rules(comparison, len(contrasts))
    for rules in looks if comparison.most_replicates is not None else looks[-1:]:
        is_present = rules is looks[-1]
        count = comparison.budget.replicates if is_present else rules.look.replicates
        pairs = {
            index: each.differences if is_present else each.up_to(count)
            for index, each in enumerate(contrasts)
        }
        judged = [index for index, found in pairs.items() if found]
        verdicts = decide_together(
            [
                estimate_mean(
                    pairs[index],
                    shared_by_all=shared(
                        comparison, contrasts[index].reference, contrasts[index].arm
                    ),
                )
                for index in judged
            ],
            rules,
            n_verdicts=len(contrasts),
            settled=[
                earlier[index].verdict.decision if index in earlier else None for index in judged
            ],
        )
        for index, verdict in zip(judged, verdicts, strict=True):
            found = _Decided(verdict=verdict, rules=rules)
            n_wanted = min(count, contrasts[index].n_replicates) * comparison.budget.final_seeds
            if index in earlier:
                before = earlier[index]
                kept = replace(before.verdict, interval=verdict.interval)
                present[index] = _Decided(verdict=kept, rules=before.rules, is_earlier=True)
                continue
            present[index] = found
            is_whole = len(pairs[index]) >= n_wanted
            if not is_present and verdict.decision is not Decision.UNDECIDED and is_whole:
                earlier[index] = found
    return [present.get(index) for index in range(len(contrasts))]


def _all_rules(comparison: Comparison, n_tests: int) -> list[Rules]:
    """Return the rules of all looks; one replicate decides nothing and costs no level."""
    counts = (*comparison.looks, comparison.budget.replicates)
    looks = looks_so_far(
        [count for count in counts if count >= MIN_REPLICATES_TO_DECIDE] or [counts[-1]],
        comparison.most_replicates,
        alpha=1 - comparison.confidence,
        n_tests=n_tests,
    )
    return [
        Rules(margin=comparison.margin, confidence=comparison.confidence, look=look)
        for look in looks
    ]


def rules_of(comparison: Comparison) -> Rules:
    """Return the rules of the present look."""
    return _all_rules(comparison, comparison.n_verdicts)[-1]


def shared(comparison: Comparison, *arms: Arm) -> Shared:
    """Return what the replicates of arms have in common."""
    pools = [
        arm.cell.n_train / int(pool)
        for arm in arms
        for study in arm.studies
        if (pool := study.split.get("n_pool"))
    ]
    runs = [
        comparison.pretraining_runs.get(study.upstream, 1)
        for arm in arms
        for study in arm.studies
        if study.upstream is not None
    ]
    return Shared(overlap=max(pools, default=0.0), pretraining_runs=min(runs, default=None))


def _is_running(evidence: Evidence, contrasts: Sequence[_Contrast], role: FinalRole) -> bool:
    """Tell whether planned final fits are missing that were not given up."""
    planned: dict[tuple[str, ...], tuple[Arm, int]] = {}
    for each in contrasts:
        for arm in (each.reference, each.arm):
            key = (arm.regime, *(study.study for study in arm.studies))
            planned[key] = arm, each.n_replicates * evidence.comparison.budget.final_seeds
    missing = sum(max(n - len(arm.finals_by_pair(role)), 0) for arm, n in planned.values())
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
    ours = scored_finals(arm, influence_of, role=role)
    theirs = scored_finals(reference, influence_of, role=against or role)
    return {pair: subtract(ours[pair], theirs[pair]) for pair in ours if pair in theirs}


def scored_finals(
    arm: Arm, influence_of: InfluenceOf, *, role: FinalRole
) -> dict[Pair, PairedDifference]:
    """Return the arm's own scores with their influences, by replicate and seed index."""
    return {
        pair: PairedDifference(value=arm.score(final), influence=influence_of(final))
        for pair, final in arm.finals_by_pair(role).items()
    }


def score_intervals(
    arms: Mapping[CellKey, Mapping[str, Arm]],
    influence_of: InfluenceOf,
    *,
    role: FinalRole,
    comparison: Comparison,
) -> dict[tuple[CellKey, str], Interval]:
    """Return the interval of each arm's own mean score; the cells of one arm share a prior.

    Differences are paired, so their intervals are usually narrower than these two suggest.
    """
    found: dict[tuple[CellKey, str], Interval] = {}
    for regime in dict.fromkeys(name for of_cell in arms.values() for name in of_cell):
        scored = {
            cell: estimate_mean(finals, shared_by_all=shared(comparison, of_cell[regime]))
            for cell, of_cell in arms.items()
            if (finals := scored_finals(of_cell[regime], influence_of, role=role))
        }
        errors = moderated_errors(list(scored.values()))
        for (cell, estimate), error in zip(scored.items(), errors, strict=True):
            found[cell, regime] = Interval.of(estimate, error, comparison.confidence)
    return found


def _judge(
    found: _Decided | None, comparison: Comparison, n_verdicts: int, *, is_whole: bool
) -> Judgement:
    if found is None:
        return _NOT_JUDGED
    verdict, rules = found.verdict, found.rules
    interval, decision, look = verdict.interval, verdict.decision, rules.look
    alpha = 1 - comparison.confidence
    left = max(alpha - _all_rules(comparison, n_verdicts)[-1].look.spent, 0.0)
    caveats = list(_caveats(interval))
    if found.is_earlier:
        caveats.append(
            f"decided at the look at {look.replicates} replicates, at the level {look.level:.2g}; "
            "this verdict stands"
        )
    elif not is_whole:
        decision = Decision.INTERIM
        caveats.append("planned work is missing: numbers are of what is there, without a verdict")
    elif look.level < alpha:
        caveats.append(
            f"this look, at {look.replicates} replicates, decides at the level {look.level:.2g}; "
            f"{left:.2g} of {alpha:.2g} is left for later ones"
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
    is_decided = decision not in (Decision.UNDECIDED, Decision.INTERIM)
    return Judgement(
        decision=decision,
        tests=verdict.tests,
        corrected=verdict.corrected,
        level=look.level,
        decided_at=look.replicates if is_decided else None,
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
            "the interval is wide: more replicates or cells would narrow it"
        )
    if interval.pretraining_runs == 1 and interval.n_replicates > 1:
        yield (
            "all replicates start from one pre-training run, so a verdict is about this "
            "checkpoint: [pretrain] runs gives the others"
        )
    if 0 < interval.overlap < 1 and interval.n_replicates > 1:
        yield (
            f"each replicate draws {interval.overlap:.0%} of the pool's records, so replicates "
            "share records: the interval is wider by what more replicates cannot tell"
        )
