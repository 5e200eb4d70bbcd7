"""Everything that a report prints, concluded once from the evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgopt.analysis.arms import Arm, TrialCounts, count_trials, sort_into_arms
from ecgopt.analysis.compare import CellComparison, compare_cells, influence_loader
from ecgopt.analysis.cost import ArmCost, BreakEven, arm_cost, break_even
from ecgopt.analysis.curves import BudgetCrossover, BudgetCurve, arm_curve, budget_crossover
from ecgopt.analysis.evidence import CellKey, Evidence, FinalRole, TrialEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmConclusion:
    """One regime of one cell."""

    arm: Arm
    counts: TrialCounts
    winners: Mapping[int, TrialEvidence]
    """By replicate."""
    curve: BudgetCurve | None
    cost: ArmCost

    def test_score(self, role: FinalRole = "tuned") -> float | None:
        """Return the mean test macro AUROC over replicates and seeds; None before any final."""
        groups: dict[int, list[float]] = {}
        for (replicate, _), final in self.arm.finals_by_pair(role).items():
            groups.setdefault(replicate, []).append(final.metrics["macro_auroc"])
        return float(np.mean([np.mean(g) for g in groups.values()])) if groups else None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """All cells of a comparison."""

    evidence: Evidence
    cells: tuple[CellConclusion, ...]


def conclude(evidence: Evidence, workspace: Path) -> Conclusions:
    """Return everything a report prints.

    Args:
        evidence: Of one comparison.
        workspace: Folder that the paths of the predictions are relative to.
    """
    influence_of = influence_loader(workspace)
    tuned = compare_cells(evidence, influence_of)
    published = compare_cells(evidence, influence_of, role="published")
    arms = sort_into_arms(evidence)
    cells = tuple(
        _conclude_cell(
            evidence,
            of_cell,
            tuned=tuple(found for found in tuned if found.cell == cell),
            published=tuple(found for found in published if found.cell == cell),
        )
        for cell, of_cell in arms.items()
    )
    return Conclusions(evidence=evidence, cells=cells)


def _conclude_cell(
    evidence: Evidence,
    arms: Mapping[str, Arm],
    *,
    tuned: tuple[CellComparison, ...],
    published: tuple[CellComparison, ...],
) -> CellConclusion:
    reference, *others = evidence.comparison.regimes
    concluded = {regime: _conclude_arm(arm, evidence) for regime, arm in arms.items()}
    curves = {regime: arm.curve for regime, arm in concluded.items() if arm.curve is not None}
    return CellConclusion(
        cell=arms[reference].cell,
        arms=concluded,
        comparisons=tuned,
        published=published,
        crossovers={
            regime: budget_crossover({reference: curves[reference], regime: curves[regime]})
            for regime in others
            if regime in curves and reference in curves
        },
        break_even={
            regime: break_even(concluded[reference].cost, concluded[regime].cost)
            for regime in others
        },
    )


def _conclude_arm(arm: Arm, evidence: Evidence) -> ArmConclusion:
    return ArmConclusion(
        arm=arm,
        counts=count_trials(arm.budget_trials()),
        winners=arm.winners(),
        curve=arm_curve(arm),
        cost=arm_cost(arm, evidence),
    )
