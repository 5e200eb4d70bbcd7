"""The evidence of a comparison sorted by cell and regime."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ecgopt.errors import UserError
from ecgopt.evidence.records import (
    CellKey,
    Comparison,
    Evidence,
    FinalEvidence,
    FinalRole,
    StudyEvidence,
    TrialEvidence,
)
from ecgopt.evidence.selection import ELIGIBLE_RECIPES, choose_winner
from ecgopt.training.metrics import METRICS, PRIMARY, Metric, decision_metric

Pair = tuple[int, int]
"""Replicate and seed index: two arms are compared where both have the same."""


def replicate_means(values: Mapping[Pair, float]) -> dict[int, float]:
    """Return each replicate's mean over its seeds; replicates and seeds in their order."""
    by_replicate: dict[int, list[float]] = {}
    for (replicate, _), value in sorted(values.items()):
        by_replicate.setdefault(replicate, []).append(value)
    return {replicate: float(np.mean(found)) for replicate, found in by_replicate.items()}


NAMED_OUTCOMES = ("diverged", "timed_out", "out_of_memory", "lost", "set_aside")
"""Causes that are told apart from plain pruning and plain failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCounts:
    """How the trials of a budget ended."""

    complete: int
    pruned: int
    """Stopped by the pruner."""
    diverged: int
    timed_out: int
    out_of_memory: int
    failed: int
    """In error; none of the outcomes with a name of their own is among these."""
    lost: int
    set_aside: int
    unfinished: int

    @property
    def total(self) -> int:
        """Trials of all outcomes."""
        return (
            self.complete + self.pruned + self.diverged + self.timed_out + self.out_of_memory
            + self.failed + self.lost + self.set_aside + self.unfinished
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One regime of one cell, over all its replicates."""

    cell: CellKey
    regime: str
    studies: tuple[StudyEvidence, ...]
    finals: tuple[FinalEvidence, ...]
    metric: Metric = METRICS[PRIMARY]
    """What verdicts rest on."""

    def score(self, final: FinalEvidence) -> float:
        """Return what a verdict compares: the decision metric, with the sign of higher is better.

        Raises:
            UserError: the final fit has no such score.
        """
        if self.metric.name not in final.metrics:
            raise UserError(
                f"{final.study}: its final fits have no {self.metric.title}, by which the verdict "
                "is judged: the labels do not allow it; choose another metric in [verdict]"
            )
        return self.metric.oriented(final.metrics[self.metric.name])

    @property
    def network(self) -> str:
        """The label of its network, which is the cell's unless the arm states its own."""
        return self.studies[0].model if self.studies else self.cell.model

    def finals_by_pair(self, role: FinalRole) -> dict[Pair, FinalEvidence]:
        """Return the finals of `role`, sorted by replicate and seed index."""
        chosen = {(f.replicate, f.seed_index): f for f in self.finals if f.role == role}
        return dict(sorted(chosen.items()))

    def replicate_scores(self, role: FinalRole = "tuned") -> dict[int, float]:
        """Return each replicate's test score, the mean over its seeds."""
        finals = self.finals_by_pair(role)
        return replicate_means({pair: self.score(each) for pair, each in finals.items()})

    def test_score(self, role: FinalRole = "tuned") -> float | None:
        """Return the mean of what verdicts rest on, on the test; None before any final."""
        means = self.replicate_scores(role)
        return float(np.mean([*means.values()])) if means else None

    def budget_trials(self) -> tuple[TrialEvidence, ...]:
        """Return the trials that were paid from the budget, over all replicates."""
        return tuple(t for s in self.studies for t in budget_trials(s.trials))

    def winners(self) -> dict[int, TrialEvidence]:
        """Return the winner of each replicate that has one."""
        found: dict[int, TrialEvidence] = {}
        for study in self.studies:
            try:
                found[study.replicate] = choose_winner(study.trials)
            except UserError:
                continue  # a study without a complete trial has no winner to show yet
        return found


def budget_trials(trials: Iterable[TrialEvidence]) -> tuple[TrialEvidence, ...]:
    """Return the trials that count against the budget, without audit and extra runs."""
    return tuple(trial for trial in trials if trial.recipe in ELIGIBLE_RECIPES)


def count_trials(trials: Iterable[TrialEvidence]) -> TrialCounts:
    """Return how `trials` ended; every trial is counted once."""
    found = Counter(_outcome(trial) for trial in trials)
    return TrialCounts(**{name: found[name] for name in TrialCounts.__dataclass_fields__})


def _outcome(trial: TrialEvidence) -> str:
    if not trial.has_ended:
        return "unfinished"
    if trial.cause in NAMED_OUTCOMES:
        return trial.cause
    return trial.state


def sort_into_arms(evidence: Evidence) -> dict[CellKey, dict[str, Arm]]:
    """Return every arm of every cell; a study without upstream serves all cells it fits."""
    studies: dict[tuple[object, ...], list[StudyEvidence]] = {}
    finals: dict[tuple[object, ...], list[FinalEvidence]] = {}
    for study in evidence.studies:
        studies.setdefault(_place(study), []).append(study)
    for final in evidence.finals:
        finals.setdefault(_place(final), []).append(final)
    return {
        cell: {
            regime: _build_arm(cell, regime, studies, finals, evidence.comparison)
            for regime in evidence.comparison.regimes
        }
        for cell in evidence.comparison.cells
    }


def _place(item: StudyEvidence | FinalEvidence) -> tuple[object, ...]:
    return (item.regime, item.upstream, item.downstream, item.model, item.n_train)


def _build_arm(
    cell: CellKey,
    regime: str,
    studies: Mapping[tuple[object, ...], list[StudyEvidence]],
    finals: Mapping[tuple[object, ...], list[FinalEvidence]],
    comparison: Comparison,
) -> Arm:
    """Return an arm of a cell, without replicates that it has for another cell alone."""
    own_start, n_replicates = comparison.arm(regime), comparison.replicates_of(cell)
    places = [
        (regime, upstream, cell.downstream, own_start.model or cell.model, cell.n_train)
        for upstream in (own_start.upstream or cell.upstream, None)
    ]
    own = [study for place in places for study in studies.get(place, [])]
    fits = [final for place in places for final in finals.get(place, [])]
    return Arm(
        cell=cell,
        regime=regime,
        studies=tuple(
            sorted(
                (study for study in own if study.replicate < n_replicates),
                key=lambda study: study.replicate,
            )
        ),
        finals=tuple(final for final in fits if final.replicate < n_replicates),
        metric=decision_metric(comparison.metric, comparison.metrics),
    )
