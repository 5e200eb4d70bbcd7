"""Everything that a report prints, concluded once from the evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgopt.analysis.arms import Arm, TrialCounts, count_trials, sort_into_arms
from ecgopt.analysis.calibration import CalibrationPoint, calibration_curve
from ecgopt.analysis.compare import (
    CellComparison,
    InfluenceOf,
    compare_cells,
    score_intervals,
    verdicts_at_margins,
)
from ecgopt.analysis.convergence import Convergence, common_target, converge
from ecgopt.analysis.cost import ArmCost, BreakEven, arm_cost, break_even
from ecgopt.analysis.curves import BudgetCrossover, BudgetCurve, arm_curve, budget_crossover
from ecgopt.analysis.equal_score import EqualScore, equal_scores
from ecgopt.analysis.equal_spend import EqualSpend, equal_spend
from ecgopt.analysis.findings import FINE_TUNE, SCRATCH, Finding, FindingGrounds, judge_findings
from ecgopt.analysis.gates import Gate, check_gates
from ecgopt.analysis.importance import parameter_importance
from ecgopt.analysis.interval import Interval
from ecgopt.analysis.pareto import ArmTrade, arm_trades
from ecgopt.analysis.per_label import LabelComparison, compare_labels
from ecgopt.analysis.pooled import Pooled, pool
from ecgopt.analysis.pruning_audit import PruningAudit, audit_pruning
from ecgopt.analysis.ranking import Ranking, rank_arms
from ecgopt.analysis.readings import Readings
from ecgopt.analysis.response import LearningRateResponse, learning_rate_response
from ecgopt.analysis.run_gates import check_run
from ecgopt.analysis.scores import ArmScores, arm_scores
from ecgopt.analysis.selection_gates import check_selection
from ecgopt.analysis.sizes import SizeLadder, size_ladders
from ecgopt.analysis.subgroups import Subgroups, compare_subgroups
from ecgopt.analysis.waterfall import Step, waterfall
from ecgopt.evidence.records import CellKey, Comparison, Evidence, FinalRole, TrialEvidence

MARGIN_FACTORS = (0.0, 0.5, 2.0)
"""Of the margins at which the report shows what the verdicts would be."""

ROLES: tuple[FinalRole, FinalRole] = ("tuned", "published")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmConclusion:
    """One regime of one cell."""

    arm: Arm
    counts: TrialCounts
    winners: Mapping[int, TrialEvidence]
    """By replicate."""
    scores: ArmScores | None
    intervals: Mapping[FinalRole, Interval]
    """Of the mean test score, by the recipe of the final fits."""
    calibration: tuple[CalibrationPoint, ...]
    """Empty where test predictions were not kept."""
    curve: BudgetCurve | None
    response: LearningRateResponse | None
    convergence: Convergence | None
    importance: Mapping[str, float]
    pruning: PruningAudit
    cost: ArmCost

    def test_score(self, role: FinalRole = "tuned") -> float | None:
        """Return the mean of what verdicts rest on, on the test; None before any final."""
        return self.arm.test_score(role)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellConclusion:
    """One cell: its arms, and every other regime against the reference."""

    cell: CellKey
    arms: Mapping[str, ArmConclusion]
    comparisons: tuple[CellComparison, ...]
    published: tuple[CellComparison, ...]
    """The same comparisons with the published recipe in both arms."""
    crossovers: Mapping[str, BudgetCrossover]
    break_even: Mapping[str, BreakEven]
    equal_spend: tuple[EqualSpend, ...]
    """The arms at equal epochs and at equal seconds."""
    waterfalls: Mapping[str, tuple[Step, ...]]
    trades: tuple[ArmTrade, ...]
    """Score and cost of each arm that has a test score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """All cells of a comparison."""

    evidence: Evidence
    """With scores over the labels that enough test patients carry; else as stored."""
    cells: tuple[CellConclusion, ...]
    pooled: tuple[Pooled, ...]
    ranking: Ranking | None
    """None for two arms, and before a cell has a final fit of each arm."""
    ladders: tuple[SizeLadder, ...]
    equal_scores: tuple[EqualScore, ...]
    """Per arm and size of a ladder: the size at which the reference scores alike."""
    labels: tuple[LabelComparison, ...]
    subgroups: Subgroups
    at_margins: Mapping[float, Sequence[CellComparison]]
    """The tuned comparisons at other margins; they decide nothing."""
    findings: tuple[Finding, ...]
    """Empty unless both scratch and fine-tuning are compared."""
    gates: tuple[Gate, ...]

    @property
    def level_left(self) -> float:
        """Of the level, for later looks."""
        every = (each for cell in self.cells for each in cell.comparisons)
        return max((each.judgement.level_left for each in every), default=0.0)


def conclude(evidence: Evidence, workspace: Path) -> Conclusions:
    """Return everything a report prints.

    Args:
        evidence: Of one comparison.
        workspace: Folder that the paths of the predictions are relative to.

    Raises:
        DataError: a file of predictions is missing or was altered.
    """
    comparison, stored = evidence.comparison, evidence
    readings = Readings(workspace, comparison)
    influence_of = readings.influence
    evidence = readings.without_rare_labels(stored)
    tuned = compare_cells(evidence, influence_of)
    published = compare_cells(evidence, influence_of, role="published")
    arms = sort_into_arms(evidence)
    concluded = _conclude_arms(evidence, arms, readings)
    every = [arm for of_cell in arms.values() for arm in of_cell.values()]
    unique = list({(arm.regime, *(s.study for s in arm.studies)): arm for arm in every}.values())
    return Conclusions(
        evidence=evidence,
        cells=tuple(
            _conclude_cell(
                concluded[cell],
                confidence=comparison.confidence,
                tuned=tuple(found for found in tuned if found.cell == cell),
                published=tuple(found for found in published if found.cell == cell),
            )
            for cell in arms
        ),
        pooled=_pool(tuned, comparison),
        ranking=rank_arms(arms, influence_of, comparison),
        ladders=size_ladders(tuned, confidence=comparison.confidence),
        equal_scores=equal_scores(evidence, influence_of),
        labels=tuple(compare_labels(evidence, readings.predictions)),
        subgroups=compare_subgroups(evidence, readings.predictions),
        at_margins=verdicts_at_margins(evidence, influence_of, MARGIN_FACTORS),
        findings=_findings(evidence, arms, influence_of),
        gates=(
            *check_gates(stored, unique, readings),
            *_stopped_cells(tuned, comparison),
            *check_selection(unique, readings, comparison),
            *check_run(stored),
        ),
    )


def _stopped_cells(tuned: list[CellComparison], comparison: Comparison) -> tuple[Gate, ...]:
    """Return the gate on cells that got fewer replicates than others, if there are any."""
    stopped = {
        cell: count
        for cell, count in zip(comparison.cells, comparison.replicates, strict=False)
        if count < comparison.budget.replicates
    }
    if not stopped:
        return ()
    wrong = [
        f"{each.cell}, {each.regime} against {each.reference}"
        for each in tuned
        if each.cell in stopped and not 0 < (each.judgement.decided_at or 0) <= stopped[each.cell]
    ]
    return (
        Gate(
            name="cells that got no more replicates were decided",
            state="failed" if wrong else "passed",
            finding=f"{len(stopped)} cells"
            + (f"; not decided then: {'; '.join(wrong[:3])}" if wrong else ""),
        ),
    )


def _pool(tuned: list[CellComparison], comparison: Comparison) -> tuple[Pooled, ...]:
    found = []
    for pair in comparison.contrasts:
        cells = [
            cell
            for cell in tuned
            if (cell.reference, cell.regime) == pair and cell.interval is not None
        ]
        pooled = pool(cells, confidence=comparison.confidence)
        if pooled is not None:
            found.append(pooled)
    return tuple(found)


def _findings(
    evidence: Evidence, arms: dict[CellKey, dict[str, Arm]], influence_of: InfluenceOf
) -> tuple[Finding, ...]:
    if not {SCRATCH, FINE_TUNE} <= set(evidence.comparison.regimes):
        return ()
    tuned, published = (
        compare_cells(evidence, influence_of, role=role, pairs=[(SCRATCH, FINE_TUNE)])
        for role in ROLES
    )
    return judge_findings(
        FindingGrounds(
            evidence=evidence,
            arms=arms,
            tuned=tuned,
            published=published,
            ladders=size_ladders(tuned, confidence=evidence.comparison.confidence),
        )
    )


def _conclude_arms(
    evidence: Evidence, arms: Mapping[CellKey, Mapping[str, Arm]], readings: Readings
) -> dict[CellKey, dict[str, ArmConclusion]]:
    """Return every arm's conclusions; the costly ones once per arm that cells share."""
    importances: dict[tuple[str, ...], dict[str, float]] = {}
    calibrations: dict[tuple[str, ...], tuple[CalibrationPoint, ...]] = {}
    found: dict[CellKey, dict[str, ArmConclusion]] = {}
    intervals = {
        role: score_intervals(arms, readings.influence, role=role, comparison=evidence.comparison)
        for role in ROLES
    }
    for cell, of_cell in arms.items():
        target = common_target(list(of_cell.values()))
        for regime, arm in of_cell.items():
            studies = tuple(study.study for study in arm.studies)
            if studies not in importances:
                importances[studies] = parameter_importance(arm)
                calibrations[studies] = calibration_curve(
                    arm, readings.predictions, evidence.comparison
                )
            found.setdefault(cell, {})[regime] = ArmConclusion(
                arm=arm,
                counts=count_trials(arm.budget_trials()),
                winners=arm.winners(),
                scores=arm_scores(arm, readings),
                intervals={
                    role: of_arms[cell, regime]
                    for role, of_arms in intervals.items()
                    if (cell, regime) in of_arms
                },
                calibration=calibrations[studies],
                curve=arm_curve(arm),
                response=learning_rate_response(arm, evidence.comparison.margin),
                convergence=None if target is None else converge(arm, target),
                importance=importances[studies],
                pruning=audit_pruning(arm),
                cost=arm_cost(arm, evidence),
            )
    return found


def _conclude_cell(
    arms: Mapping[str, ArmConclusion],
    *,
    confidence: float,
    tuned: tuple[CellComparison, ...],
    published: tuple[CellComparison, ...],
) -> CellConclusion:
    reference, *others = arms
    curves = {regime: arm.curve for regime, arm in arms.items() if arm.curve is not None}
    return CellConclusion(
        cell=arms[reference].arm.cell,
        arms=arms,
        comparisons=tuned,
        published=published,
        crossovers={
            regime: budget_crossover({reference: curves[reference], regime: curves[regime]})
            for regime in others
            if regime in curves and reference in curves
        },
        break_even={
            regime: break_even(arms[reference].cost, arms[regime].cost) for regime in others
        },
        equal_spend=_equal_spend({regime: arm.arm for regime, arm in arms.items()}),
        waterfalls={
            regime: waterfall(arms[reference].arm, arms[regime].arm, confidence=confidence)
            for regime in others
        },
        trades=arm_trades({name: (arm.test_score(), arm.cost) for name, arm in arms.items()}),
    )


def _equal_spend(arms: Mapping[str, Arm]) -> tuple[EqualSpend, ...]:
    found = (equal_spend(arms, "epochs"), equal_spend(arms, "seconds"))
    return tuple(each for each in found if each is not None)
