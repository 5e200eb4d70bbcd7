"""Driving one trial: epochs in, ladder reports out, and why it ended."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ecgopt.errors import TrialDiverged
from ecgopt.jobs.pruning import LADDER_STEPS, ladder
from ecgopt.training.run import EpochResult

TrialCause = Literal["done", "pruned", "diverged", "timed_out", "out_of_memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnd:
    """How a trial ended."""

    cause: TrialCause
    value: float | None
    """Validation macro AUROC at the end of the schedule; None unless the cause is `done`."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRules:
    """What may end a trial early, and what must happen around each epoch."""

    may_prune: bool
    seconds_limit: float | None
    seconds_spent: Callable[[], float]
    """Training seconds of the whole trial, those of earlier owners included."""


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
    reports: Reports, epochs: Iterator[EpochResult], n_epochs: int, rules: TrialRules
) -> TrialEnd:
    """Train through `epochs`, report at each ladder step, and return how the trial ended.

    Steps that a former owner has reported are not reported again. A diverged trial ends as
    pruned, so that the sampler learns from it.
    """
    steps = ladder(n_epochs)
    reported = dict(reports.values)
    is_complete = LADDER_STEPS in reported
    if reported and not is_complete and rules.may_prune and reports.should_prune():
        return TrialEnd(cause="pruned", value=None, detail="on adoption")
    value = last_report(reported)
    try:
        for result in epochs:
            step = steps.get(result.epoch)
            if step is not None:
                value = result.validation_macro_auroc
                assert value is not None, "every ladder epoch is evaluated"
                if step not in reported:
                    reports.report(step, value)
            if result.epoch < n_epochs and (end := _early_end(reports, step, rules)):
                return end
    except TrialDiverged as error:
        return TrialEnd(cause="diverged", value=None, detail=str(error))
    assert value is not None, "the last epoch is a ladder step"
    return TrialEnd(cause="done", value=value)


def last_report(reports: Mapping[int, float]) -> float | None:
    """Return the report of the highest step, or None without any."""
    return reports[max(reports)] if reports else None


def _early_end(reports: Reports, step: int | None, rules: TrialRules) -> TrialEnd | None:
    if step is not None and rules.may_prune and reports.should_prune():
        return TrialEnd(cause="pruned", value=None, detail=f"at step {step} of {LADDER_STEPS}")
    if rules.seconds_limit is not None and rules.seconds_spent() > rules.seconds_limit:
        return TrialEnd(cause="timed_out", value=None, detail=f"over {rules.seconds_limit:g} s")
    return None
