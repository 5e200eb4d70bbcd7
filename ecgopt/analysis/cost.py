"""What each arm cost, and for how many targets pre-training pays for itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ecgopt.analysis.arms import Arm, budget_trials
from ecgopt.evidence.records import (
    Evidence,
    FinalEvidence,
    PretrainEvidence,
    SanityCheck,
    TrialEvidence,
)

Paid = TrialEvidence | FinalEvidence | PretrainEvidence | SanityCheck
"""Whatever was trained, and says what that took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Compute in the three units that a reader may care for."""

    seconds: float = 0.0
    epochs: int = 0
    samples: int = 0
    """Training samples seen, repetitions counted."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            seconds=self.seconds + other.seconds,
            epochs=self.epochs + other.epochs,
            samples=self.samples + other.samples,
        )

    @classmethod
    def of(cls, runs: Iterable[Paid]) -> Self:
        """Return the cost of `runs` together."""
        every = list(runs)
        return cls(
            seconds=math.fsum(run.seconds for run in every),
            epochs=sum(run.n_epochs for run in every),
            samples=sum(run.n_samples for run in every),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCost:
    """The ledger of one arm of one cell, over all its replicates."""

    regime: str
    tuning: Cost
    """Trials of the budget: pruned and diverged ones too, and the published recipe's trial."""
    finals: Cost
    beside_budget: Cost
    """Audits, learning rates, sanity checks, and final fits of other recipes than the winner's."""
    pretraining: Cost
    """In full; nothing for a regime that needs none."""
    n_replicates: int

    @property
    def per_target(self) -> Cost:
        """What one more target costs: tuning and final fits of one replicate."""
        total, share = self.tuning + self.finals, max(self.n_replicates, 1)
        return Cost(
            seconds=total.seconds / share,
            epochs=round(total.epochs / share),
            samples=round(total.samples / share),
        )


def arm_cost(arm: Arm, evidence: Evidence) -> ArmCost:
    """Return what `arm` cost; pre-training of its upstream and network stands on its own line."""
    every = [trial for study in arm.studies for trial in study.trials]
    paid = budget_trials(every)
    beside = [trial for trial in every if trial.recipe in ("audit", "extra", "enqueued")]
    names = {study.study for study in arm.studies}
    checks = [check for check in evidence.checks if check.study in names]
    starts = {(study.upstream, study.model) for study in arm.studies}
    pretrainings = [
        pretraining
        for pretraining in evidence.pretrainings
        if (pretraining.upstream, pretraining.model) in starts
    ]
    return ArmCost(
        regime=arm.regime,
        tuning=Cost.of(paid),
        finals=Cost.of(final for final in arm.finals if final.role == "tuned"),
        beside_budget=Cost.of([*beside, *checks])
        + Cost.of(final for final in arm.finals if final.role != "tuned"),
        pretraining=Cost.of(pretrainings),
        n_replicates=len(arm.studies),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Targets after which pre-training has paid for itself; None means never."""

    seconds: int | None
    epochs: int | None
    samples: int | None


def break_even(reference: ArmCost, arm: ArmCost) -> BreakEven:
    """Return the number of targets at which `arm`, pre-training included, is the cheaper one."""
    ours, theirs = arm.per_target, reference.per_target
    return BreakEven(
        seconds=_targets(arm.pretraining.seconds, theirs.seconds - ours.seconds),
        epochs=_targets(arm.pretraining.epochs, theirs.epochs - ours.epochs),
        samples=_targets(arm.pretraining.samples, theirs.samples - ours.samples),
    )


def _targets(once: float, saved_per_target: float) -> int | None:
    if saved_per_target <= 0:
        return None
    return max(1, math.ceil(once / saved_per_target))
