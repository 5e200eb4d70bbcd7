"""Pruning on a ladder of schedule fractions, and why a trial ends.

Step k (1..10) of a trial is the end of the epoch that completes k tenths of the trial's own
schedule. Trials of different length are then compared at the same point of their cosine.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ecgopt.causes import Cause
from ecgopt.errors import TrialDiverged
from ecgopt.jobs.job import PausedAtRung

if TYPE_CHECKING:
    from ecgopt.training.run import EpochResult

LADDER_STEPS = 10


def ladder(n_epochs: int) -> Mapping[int, int]:
    """Return the ladder step that ends with each epoch (counted from 1), where one does.

    A schedule of fewer than ten epochs skips steps; the last epoch is always step 10.
    """
    steps = {epoch: LADDER_STEPS * epoch // n_epochs for epoch in range(1, n_epochs + 1)}
    return {epoch: step for epoch, step in steps.items() if step > steps.get(epoch - 1, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnd:
    """How a trial ended."""

    cause: Cause
    value: float | None
    """Validation macro AUROC at the end of the schedule; None unless the cause is `done`."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRules:
    """What may end a trial early."""

    may_prune: bool
    seconds_limit: float | None
    seconds_spent: Callable[[], float]
    """Training seconds of the whole trial, those of earlier owners included."""
    pauses: Sequence[int] = ()
    """Rungs at which it has yet to pause."""


class Reports(Protocol):
    """A trial's reports in the database; every call waits out a database that is away."""

    @property
    def values(self) -> Mapping[int, float]:
        """What was reported so far, by ladder step, by all owners."""

    def report(self, step: int, value: float) -> None:
        """Report a score.

        Raises:
            LeaseLost: the trial belongs to another worker; nothing was written.
        """

    def should_prune(self) -> bool:
        """Ask the study's pruner about the reports so far."""


def run_trial(
    reports: Reports, epochs: Iterator["EpochResult"], n_epochs: int, rules: TrialRules
) -> TrialEnd:
    """Train through `epochs`, report at each ladder step, and return how the trial ended.

    Steps that a former owner has reported are not reported again, and the pruner is asked after the
    last of them alone, when it is trained again: a trial has the same account whoever trained it.
    A diverged trial ends as pruned, so that the sampler learns from it.

    Raises:
        PausedAtRung: the trial must wait for those of its bracket.

    Args:
        reports: Of the trial.
        epochs: Its training.
        n_epochs: Of its whole schedule.
        rules: What may end it early.
    """
    steps = ladder(n_epochs)
    reported = dict(reports.values)
    value = last_report(reported)
    try:
        for result in epochs:
            step = steps.get(result.epoch)
            if step is not None:
                value = result.validation_macro_auroc
                assert value is not None, "every ladder epoch is evaluated"
                if step not in reported:
                    reports.report(step, value)
            is_newest = step == max(reports.values, default=None)
            if result.epoch < n_epochs and (
                end := _early_end(reports, step if is_newest else None, rules)
            ):
                return end
            if is_newest and (rung := rung_to_wait_at(reports.values, rules.pauses)) is not None:
                raise PausedAtRung(rung)
    except TrialDiverged as error:
        return TrialEnd(cause=Cause.DIVERGED, value=None, detail=str(error))
    assert value is not None, "the last epoch is a ladder step"
    return TrialEnd(cause=Cause.DONE, value=value)


def rung_to_wait_at(reports: Mapping[int, float], pauses: Sequence[int]) -> int | None:
    """Return the first of the rungs that a trial has come to; None where there is none.

    A trial whose schedule skips a rung comes to it with its next report.
    """
    last = max(reports, default=0)
    return next((rung for rung in pauses if rung <= last < LADDER_STEPS), None)


def promoted(reports: Mapping[int, Mapping[int, float]], rung: int, share: float) -> frozenset[int]:
    """Return the slots of a bracket that continue from a rung: the best, at equal scores the first.

    Args:
        reports: Of all slots of the bracket; those that ended before the rung do not count.
        rung: To which all have come that have not ended.
        share: Of those who came, rounded up.
    """
    scores = {}
    for slot, own in reports.items():
        if come := [step for step in own if step >= rung]:
            scores[slot] = own[min(come)]
    best = sorted(scores, key=lambda slot: (-scores[slot], slot))
    return frozenset(best[: math.ceil(share * len(best) - 1e-9)])


def last_report(reports: Mapping[int, float]) -> float | None:
    """Return the report of the highest step, or None without any."""
    return reports[max(reports)] if reports else None


def last_epoch(reports: Mapping[int, float], n_epochs: int) -> int:
    """Return the epoch of the last report, by whichever owner; 0 without one."""
    return max((epoch for epoch, step in ladder(n_epochs).items() if step in reports), default=0)


def _early_end(reports: Reports, step: int | None, rules: TrialRules) -> TrialEnd | None:
    if step is not None and rules.may_prune and reports.should_prune():
        detail = f"at step {step} of {LADDER_STEPS}"
        return TrialEnd(cause=Cause.PRUNED, value=None, detail=detail)
    if rules.seconds_limit is not None and rules.seconds_spent() > rules.seconds_limit:
        detail = f"over {rules.seconds_limit:g} s"
        return TrialEnd(cause=Cause.TIMED_OUT, value=None, detail=detail)
    return None
