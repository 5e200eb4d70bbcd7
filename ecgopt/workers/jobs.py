"""What a worker does with a pre-training and with a trial."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from optuna.trial import Trial, TrialState

from ecgopt.seeds import seed_for
from ecgopt.training.run import EpochResult
from ecgopt.tuning.arm import ArmRuns, RecipeKind, arm_recipe
from ecgopt.tuning.cells import StudyKey
from ecgopt.tuning.objective import TrialEnd, TrialRules, run_trial
from ecgopt.tuning.pruning import ladder
from ecgopt.tuning.spec import StudySpec
from ecgopt.tuning.storage import Database
from ecgopt.tuning.studies import LOSSES, RECIPE, RUN, open_study, start_or_adopt
from ecgopt.tuning.study_tables import ModelSection
from ecgopt.workers.items import Cause, Claim
from ecgopt.workers.lease import Lease
from ecgopt.workers.reports import FencedReports
from ecgopt.workers.resume import ResumableEpochs
from ecgopt.workers.worker import ItemEnd, StopRequested


def study_key(payload: Mapping[str, Any]) -> StudyKey:
    """Return the study that a work item's payload names."""
    fields = dict(payload["study"])
    return StudyKey(model=ModelSection.model_validate(fields.pop("model")), **fields)


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
        space = spec.search_space(key.regime, key.model)
        trial, parameters = lease.retrying(
            lambda: start_or_adopt(open_study(self.database, spec, key, slot), slot, space)
        )
        frozen = trial._cached_frozen_trial
        if frozen.state.is_finished():
            return end_of(frozen.user_attrs[RUN])
        if claim.total_losses:
            losses = {"count": claim.total_losses, "last": claim.last_detail}
            lease.retrying(lambda: trial.set_user_attr(LOSSES, losses))
        kind: RecipeKind = "published" if frozen.user_attrs[RECIPE] == "published" else "tuned"
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
        reports = FencedReports(trial, lease)
        end = run_trial(reports, guarded(epochs, lease, stop), recipe.n_epochs, rules)
        account = {
            "cause": end.cause,
            "detail": end.detail,
            "seconds": epochs.seconds,
            "n_epochs": epochs.epochs_done,
            "n_samples": epochs.n_samples,
            "share_transferred": share,
            "precision": run.precision,
            "device": str(self.arms.device),
            "worker": claim.owner,
        }
        lease.assert_held()
        lease.retrying(lambda: _tell(self.database, trial, end, account))
        epochs.discard()
        return end_of(account)

    def give_up(self, claim: Claim, cause: Cause, reason: str) -> None:
        """Close the slot's Optuna trial as failed, with the reason."""
        slot = int(claim.payload["slot"])
        study = open_study(self.database, self.arms.spec, study_key(claim.payload), slot)
        storage = self.database.optuna
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, slot)
        if storage.get_trial(trial_id).state.is_finished():
            return
        account = {"cause": cause, "detail": reason, "worker": claim.owner}
        storage.set_trial_user_attr(trial_id, RUN, account)
        storage.set_trial_state_values(trial_id, state=TrialState.FAIL)


def _tell(database: Database, trial: Trial, end: TrialEnd, account: Mapping[str, Any]) -> None:
    """Close the trial; a trial that is closed already (after a lost answer) is left as it is."""
    storage = database.optuna
    frozen = storage.get_trial(trial._trial_id)
    if frozen.state.is_finished():
        return
    storage.set_trial_user_attr(trial._trial_id, RUN, dict(account))
    if end.cause == "done":
        assert end.value is not None
        storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [end.value])
        return
    # As Optuna does: the value of a pruned trial is its last report; without one it has none.
    last = frozen.intermediate_values.get(frozen.last_step) if frozen.last_step else None
    values = [last] if last is not None else None
    storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED, values)


def end_of(account: Mapping[str, Any]) -> ItemEnd:
    """Return the end of an item whose result is its account."""
    return ItemEnd(cause=account["cause"], result=account, detail=account.get("detail", ""))


def choose_device() -> torch.device:
    """Return the CUDA device that is visible, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
