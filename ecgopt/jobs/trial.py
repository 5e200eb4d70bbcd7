"""What a worker does with a pre-training and with a trial."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from optuna.trial import TrialState

from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import open_study
from ecgopt.database.optuna.trial_rows import FAILURES, RECIPE, RUN
from ecgopt.jobs.leased_trial import LeasedTrial
from ecgopt.jobs.pruning import ladder
from ecgopt.jobs.reporting import TrialRules, last_report, run_trial
from ecgopt.jobs.resumption import ResumableEpochs, discard_checkpoints
from ecgopt.jobs.runs import ArmRuns, RecipeKind, arm_recipe
from ecgopt.jobs.worker import ItemEnd, StopRequested
from ecgopt.queue.items import Cause, Claim
from ecgopt.queue.lease import Lease
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey, study_key
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.run import EpochResult


def trial_seed(spec: StudySpec, key: StudyKey, slot: int) -> int:
    """Return the seed that slot `slot` trains with, in every regime and in a repetition."""
    return seed_for(spec.seed, "trial", key.downstream, key.n_train, key.replicate, slot)


def guarded(
    epochs: ResumableEpochs, lease: Lease, stop: Callable[[], bool]
) -> Iterator[EpochResult]:
    """Yield the epochs while the lease holds and nobody asks to stop.

    Raises:
        LeaseLost: the item may belong to another worker by now.
        StopRequested: after saving the state.
    """
    for result in epochs:
        lease.progress = epochs.epochs_done
        lease.check()
        yield result
        if stop():
            epochs.save()
            raise StopRequested


@dataclass(frozen=True, slots=True)
class TrialJob:
    """Runs slot k of a study as its trial number k, from the start or from where it was left."""

    database: Database
    arms: ArmRuns

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Train, report, tell; the trial is closed in Optuna before the item is."""
        claim, spec = lease.claim, self.arms.spec
        key, slot = study_key(claim.payload), int(claim.payload["slot"])
        study = lease.retrying(lambda: open_study(self.database, spec, key, slot))
        trial = LeasedTrial.open(study, slot, lease)
        attributes = trial.stored.user_attrs
        if trial.stored.state.is_finished():
            # Its last owner died between closing it and tidying up.
            tidy_up(self.arms, claim)
            return end_of(attributes[RUN])
        parameters = trial.begin(spec.search_space(key.regime, key.model))
        if claim.total_failures:
            trial.note(FAILURES, {"count": claim.total_failures, "causes": claim.causes})
        kind: RecipeKind = "published" if attributes[RECIPE] == "published" else "tuned"
        recipe = arm_recipe(spec, key, kind, parameters)
        run, share = self.arms.build(
            key,
            recipe,
            seed=trial_seed(spec, key, slot),
            evaluate_after=frozenset(ladder(recipe.n_epochs)),
        )
        epochs = ResumableEpochs(
            run,
            self.arms.workspace.run_state(spec.name, claim.key),
            checkpoint_seconds=spec.workers.checkpoint_seconds,
        )
        rules = TrialRules(
            may_prune=kind == "tuned",
            seconds_limit=spec.budget.trial_seconds,
            seconds_spent=lambda: epochs.seconds,
        )
        end = run_trial(trial, guarded(epochs, lease, stop), recipe.n_epochs, rules)
        account = {
            "cause": end.cause,
            "detail": end.detail,
            "seconds": epochs.seconds,
            "n_epochs": max(epochs.epochs_done, _last_epoch(trial.values, recipe.n_epochs)),
            "n_samples": epochs.n_samples,
            "share_transferred": share,
            "precision": run.precision,
            "device": str(self.arms.device),
            "worker": claim.owner,
        }
        if end.cause == "done":
            trial.close(TrialState.COMPLETE, end.value, account)
        else:
            # As Optuna does: the value of a pruned trial is its last report, if there is one.
            trial.close(TrialState.PRUNED, last_report(trial.values), account)
        epochs.discard()
        return end_of(account)

    def give_up(self, lease: Lease, cause: Cause, reason: str) -> None:
        """Close the slot's Optuna trial as failed, with the reason."""
        claim = lease.claim
        slot = int(claim.payload["slot"])
        study = lease.retrying(
            lambda: open_study(self.database, self.arms.spec, study_key(claim.payload), slot)
        )
        account = {"cause": cause, "detail": reason, "worker": claim.owner}
        LeasedTrial.open(study, slot, lease).close(TrialState.FAIL, None, account)
        tidy_up(self.arms, claim)


def _last_epoch(reports: Mapping[int, float], n_epochs: int) -> int:
    """Return the epoch of the last report, which an earlier owner may have made; 0 without one."""
    return max((epoch for epoch, step in ladder(n_epochs).items() if step in reports), default=0)


class OnItsOwn:
    """How an item is given up that exists in no other table than that of the work items."""

    __slots__ = ()
    arms: ArmRuns

    def give_up(self, lease: Lease, cause: Cause, reason: str) -> None:  # noqa: ARG002
        """Remove the checkpoints: nothing else is left open."""
        tidy_up(self.arms, lease.claim)


def tidy_up(arms: ArmRuns, claim: Claim) -> None:
    """Remove the checkpoints of an item that has ended."""
    discard_checkpoints(arms.workspace.run_state(claim.comparison, claim.key))


def end_of(account: Mapping[str, Any]) -> ItemEnd:
    """Return the end of an item whose result is its account."""
    return ItemEnd(cause=account["cause"], result=account, detail=account.get("detail", ""))


def choose_device() -> torch.device:
    """Return the CUDA device that is visible, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
