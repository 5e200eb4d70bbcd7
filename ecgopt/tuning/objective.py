"""Driving one trial: epochs in, ladder reports out, and why it ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from optuna.trial import Trial

from ecgopt.errors import TrialDiverged
from ecgopt.training.run import EpochResult
from ecgopt.tuning.pruning import LADDER_STEPS, ladder

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
    before_report: Callable[[], None] = field(default=lambda: None)
    """Checks the fence; raises `LeaseLost` when the trial belongs to another worker."""


def run_trial(
    trial: Trial, epochs: Iterator[EpochResult], n_epochs: int, rules: TrialRules
) -> TrialEnd:
    """Train through `epochs`, report at each ladder step, and return how the trial ended.

    Steps that a former owner has reported are not reported again. A diverged trial ends as
    pruned, so that the sampler learns from it.
    """
    steps = ladder(n_epochs)
    reported = dict(trial.storage.get_trial(trial._trial_id).intermediate_values)
    is_complete = LADDER_STEPS in reported
    if reported and not is_complete and rules.may_prune and trial.should_prune():
        return TrialEnd(cause="pruned", value=None, detail="on adoption")
    value = reported.get(max(reported)) if reported else None
    try:
        for result in epochs:
            if (step := steps.get(result.epoch)) is None:
                continue
            value = result.validation_macro_auroc
            assert value is not None, "every ladder epoch is evaluated"
            if step not in reported:
                rules.before_report()
                trial.report(value, step)
            if result.epoch < n_epochs and (end := _early_end(trial, step, rules)):
                return end
    except TrialDiverged as error:
        return TrialEnd(cause="diverged", value=None, detail=str(error))
    assert value is not None, "the last epoch is a ladder step"
    return TrialEnd(cause="done", value=value)


def _early_end(trial: Trial, step: int, rules: TrialRules) -> TrialEnd | None:
    if rules.may_prune and trial.should_prune():
        return TrialEnd(cause="pruned", value=None, detail=f"at step {step} of {LADDER_STEPS}")
    if rules.seconds_limit is not None and rules.seconds_spent() > rules.seconds_limit:
        return TrialEnd(cause="timed_out", value=None, detail=f"over {rules.seconds_limit:g} s")
    return None
