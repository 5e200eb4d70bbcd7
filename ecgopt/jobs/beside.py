"""Runs beside the fair budget: trained to their end and unpruned.

Optuna knows nothing of them: no sampler learns from one, no pruner compares with one, no budget
counts one, and none wins or opens the sealed test. Their work items hold their results.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from ecgopt.causes import Cause
from ecgopt.data.folds import Folds
from ecgopt.evidence.records import TrialEvidence, TrialRecipe
from ecgopt.jobs.configuration import Configuration
from ecgopt.jobs.job import (
    ItemEnd,
    Job,
    RunAccount,
    Stop,
    StudyPayload,
    account_of,
    read,
    to_json,
    train_to_end,
)
from ecgopt.jobs.pruning import ladder
from ecgopt.queue.lease import Lease
from ecgopt.queue.results import EndedItem
from ecgopt.training.recipe import Value

if TYPE_CHECKING:
    from ecgopt.jobs.resumption import ResumableEpochs
    from ecgopt.training.run import Run

P = TypeVar("P", bound=StudyPayload)


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideResult(RunAccount):
    """A run beside the budget that reached its end or diverged."""

    number: int
    """Of the trial in evidence."""
    label: str = ""
    """As the user named the run."""
    parameters: Mapping[str, Value]
    reports: Mapping[int, float]
    """Validation macro AUROC by ladder step."""
    value: float | None
    """Validation macro AUROC at the end of the schedule; None where the run diverged."""


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run that was trained to its end."""

    run: "Run"
    epochs: "ResumableEpochs"
    account: RunAccount

    @property
    def value(self) -> float | None:
        """Validation macro AUROC at the end of the schedule; None where the run diverged."""
        return self.epochs.curve[-1] if self.account.cause is Cause.DONE else None


class BesideJob(Job):
    """Trains one configuration of one study to its end."""

    recipe: ClassVar[TrialRecipe]
    """What the run is called in evidence."""

    def train(
        self,
        lease: Lease,
        stop: Stop,
        chosen: Configuration,
        *,
        seed: int,
        folds: Folds | None = None,
    ) -> WholeRun:
        """Train a configuration of the item's study.

        Args:
            lease: Of the work item.
            stop: Whether the worker was asked to stop.
            chosen: What to train.
            seed: Of the run.
            folds: Replace the study's own records.

        Raises:
            LeaseLost: another worker owns the item now.
            StopRequested: after saving the state.
        """
        run, _ = self.arms.build(
            read(StudyPayload, lease.claim.payload).study,
            chosen.recipe,
            seed=seed,
            evaluate_after=frozenset(ladder(chosen.recipe.n_epochs)),
            folds=folds,
        )
        epochs = self.arms.epochs(run, lease.claim.key)
        divergence = train_to_end(epochs, lease, stop)
        return WholeRun(run, epochs, account_of(epochs, self.arms, lease, divergence=divergence))

    def end(
        self, whole: WholeRun, chosen: Configuration, *, number: int, label: str = ""
    ) -> ItemEnd:
        """Return the item's end; a run that diverged has its answer, so the item is done.

        Args:
            whole: The run.
            chosen: What was trained.
            number: Of the trial in evidence.
            label: As the user named the run.
        """
        curve = whole.epochs.curve
        scored = {
            step: curve[epoch - 1]
            for epoch, step in ladder(chosen.recipe.n_epochs).items()
            if epoch <= len(curve)
        }
        result = BesideResult(
            **to_json(whole.account),
            number=number,
            label=label,
            parameters=dict(chosen.parameters),
            reports={step: value for step, value in scored.items() if value is not None},
            value=whole.value,
        )
        whole.epochs.discard()
        return ItemEnd(cause=Cause.DONE, result=to_json(result), detail=result.detail)

    @classmethod
    def record(cls, item: EndedItem) -> TrialEvidence | None:
        """Return the run as a trial beside the budget."""
        if not item.result or item.is_set_aside:
            return None
        result = read(BesideResult, item.result)
        return TrialEvidence(
            number=result.number,
            state="complete" if result.cause is Cause.DONE else "pruned",
            cause=result.cause,
            value=result.value,
            parameters=result.parameters,
            reports=result.reports,
            n_epochs=result.n_epochs,
            seconds=result.seconds,
            n_samples=result.n_samples,
            recipe=cls.recipe,
            details=cls.details(result),
        )

    @classmethod
    def details(cls, result: BesideResult) -> Mapping[str, str | int]:
        """Return what the trial's evidence tells besides its numbers."""
        return {"device": result.device}
