"""What pruning saved, and what it may have thrown away."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm, budget_trials
from ecgopt.evidence.audit_choice import is_pruned
from ecgopt.evidence.records import StudyEvidence, TrialEvidence

LAST_STEP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedTrial:
    """A pruned trial that was trained to its end."""

    study: str
    number: int
    value_when_pruned: float | None
    final_value: float | None
    """None where it did not reach its end."""
    winner_value: float

    @property
    def would_have_won(self) -> bool:
        """Whether pruning it cost the study its best trial."""
        return self.final_value is not None and self.final_value > self.winner_value


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningAudit:
    """Pruning in one arm."""

    n_pruned: int
    epochs_saved: int
    """Of the schedules that pruned trials did not finish."""
    epochs_trained: int
    audited: tuple[AuditedTrial, ...]
    rank_agreement: dict[int, float]
    """Ladder step to Spearman correlation with the final score, over complete trials; the mean of
    the studies that have at least four."""

    @property
    def n_false(self) -> int:
        """Audited trials that would have won."""
        return sum(trial.would_have_won for trial in self.audited)


def audit_pruning(arm: Arm) -> PruningAudit:
    """Return what pruning did in `arm`."""
    winners = arm.winners()
    trials = arm.budget_trials()
    pruned = [trial for trial in trials if is_pruned(trial)]
    audited = [
        found
        for study in arm.studies
        if study.replicate in winners
        for found in _audited(study, winners[study.replicate])
    ]
    return PruningAudit(
        n_pruned=len(pruned),
        epochs_saved=sum(_planned(trial) - trial.n_epochs for trial in pruned),
        epochs_trained=sum(trial.n_epochs for trial in trials),
        audited=tuple(audited),
        rank_agreement=_rank_agreement(arm.studies),
    )


def _planned(trial: TrialEvidence) -> int:
    planned = trial.parameters.get("epochs", trial.details.get("planned_epochs"))
    if isinstance(planned, int | float):
        return max(int(planned), trial.n_epochs)
    if trial.reports:
        return round(trial.n_epochs * LAST_STEP / max(trial.reports))
    return trial.n_epochs


def _audited(study: StudyEvidence, winner: TrialEvidence) -> list[AuditedTrial]:
    by_number = {trial.number: trial for trial in budget_trials(study.trials)}
    assert winner.value is not None
    found = []
    for trial in study.trials:
        original = by_number.get(int(trial.details.get("audit_of", -1)))
        if trial.recipe != "audit" or original is None:
            continue
        found.append(
            AuditedTrial(
                study=study.study,
                number=original.number,
                value_when_pruned=original.value,
                final_value=trial.value if trial.state == "complete" else None,
                winner_value=winner.value,
            )
        )
    return found


def _rank_agreement(studies: Iterable[StudyEvidence]) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for study in studies:
        complete = [
            trial
            for trial in budget_trials(study.trials)
            if trial.state == "complete" and trial.value is not None and trial.reports
        ]
        for step in range(1, LAST_STEP):
            early = [t.reports[step] for t in complete if step in t.reports]
            late = [t.value for t in complete if step in t.reports and t.value is not None]
            if len(early) < 4 or len(set(early)) < 2 or len(set(late)) < 2:
                continue
            from scipy import stats

            correlation = float(stats.spearmanr(early, late).statistic)
            if math.isfinite(correlation):
                found.setdefault(step, []).append(correlation)
    return {step: float(np.mean(values)) for step, values in sorted(found.items())}
