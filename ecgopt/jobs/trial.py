"""Trials: slot k of a study is its trial number k, from the start or from where it was left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ecgopt.causes import Cause
from ecgopt.database.engine import Transaction
from ecgopt.errors import UserError
from ecgopt.jobs.configuration import RecipeKind, arm_recipe
from ecgopt.jobs.job import (
    ItemEnd,
    Job,
    PausedAtRung,
    RunAccount,
    Stop,
    StudyPayload,
    guarded,
    read,
    to_json,
)
from ecgopt.jobs.pretrain import pretrain_group
from ecgopt.jobs.provenance import software
from ecgopt.jobs.pruning import (
    LADDER_STEPS,
    TrialEnd,
    TrialRules,
    ladder,
    last_epoch,
    last_report,
    run_trial,
    rung_to_wait_at,
)
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec

if TYPE_CHECKING:
    from ecgopt.jobs.leased_trial import LeasedTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPayload(StudyPayload):
    """Which trial of a study."""

    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialAccount(RunAccount):
    """How a trial ended and what it cost."""

    share_transferred: float = 0.0
    """Share of the weights that came from the upstream."""
    precision: str = ""


def trial_group(key: StudyKey) -> str:
    """Return the group of a study's trials, which final fits and diagnostics wait for."""
    return f"trials/{key.path}"


def slot_name(key: StudyKey, slot: int) -> str:
    """Return the name of a slot's work item, after its kind."""
    return f"{key.path}/{slot:04d}"


def start_group(key: StudyKey) -> str | None:
    """Return the group of the pre-training that a study's runs start from, if there is one."""
    return pretrain_group(key.pretraining) if key.pretraining else None


def trial_seed(spec: StudySpec, key: StudyKey, slot: int) -> int:
    """Return the seed that slot `slot` trains with, in every regime and in a repetition."""
    return seed_for(spec.seed, "trial", key.downstream, key.n_train, key.replicate, slot)


class TrialJob(Job):
    """Trains one trial: it may be pruned, and the sampler learns from it."""

    kind = "trial"
    title = "trials"
    priority = 1000

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield one item for each slot of each study; workers take slot 0 of all studies first.

        A slot waits until those that it learns from have ended, so that any number of workers
        makes the same study.
        """
        for key in keys:
            for slot in range(spec.budget.trials):
                item = cls.item(
                    slot_name(key, slot),
                    TrialPayload(study=key, slot=slot),
                    group=trial_group(key),
                    needs=start_group(key),
                    rank=slot,
                    after=spec.last_seen(slot),
                )
                number = spec.pruning.bracket_of(slot)
                if number is not None:
                    slots = spec.pruning.bracket_slots(number)
                    ends = (cls.priority + slots[0], cls.priority + slots[-1])
                    item = replace(item, bracket=ends)
                yield item

    @classmethod
    def add_slots(
        cls,
        connection: Transaction,
        spec: StudySpec,
        added: Sequence[NewItem],
        study_ids: Mapping[str, int],
    ) -> None:
        """Insert the Optuna trials of new items: trial 0 of each study has the published recipe.

        Args:
            connection: With the transaction that added the items.
            spec: The comparison.
            added: New work items of all kinds.
            study_ids: Ids of the Optuna studies by path.
        """
        from ecgopt.database.optuna.trial_rows import add_slots

        slots: dict[StudyKey, list[int]] = {}
        for payload in (read(TrialPayload, new.payload) for new in added if new.kind == cls.kind):
            slots.setdefault(payload.study, []).append(payload.slot)
        for key, own in slots.items():
            published = {0: spec.published_values(key.regime)} if 0 in own else {}
            add_slots(connection, study_ids[key.path], sorted(own), published)

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train and report; the trial is closed in Optuna before the item is."""
        from optuna.trial import TrialState

        from ecgopt.database.optuna.trial_rows import FAILURES, RECIPE, RUN

        claim, spec = lease.claim, self.arms.spec
        payload = read(TrialPayload, claim.payload)
        key, slot = payload.study, payload.slot
        trial = self._opened(payload, lease)
        attributes = trial.stored.user_attrs
        if trial.stored.state.is_finished():
            # Its last owner died between closing it and removing its checkpoints.
            self.arms.discard_checkpoints(claim.key)
            if RUN not in attributes:
                raise UserError(
                    f"trial {slot} of {key.path} was ended by another program than ecgopt, so its "
                    "value is unknown: add trials to these studies with `ecgopt study enqueue`"
                )
            return _end(read(TrialAccount, attributes[RUN]))
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
        epochs = self.arms.epochs(run, claim.key)
        rules = TrialRules(
            may_prune=kind == "tuned",
            seconds_limit=spec.budget.trial_seconds,
            seconds_spent=lambda: epochs.seconds,
            pauses=[r for r in spec.pruning.pauses if r > claim.rung] if kind == "tuned" else (),
        )
        from ecgopt.jobs.runs import device_facts

        if claim.rung and not trial.is_promoted(spec.pruning, claim.rung):
            detail = f"at step {max(trial.values)} of {LADDER_STEPS}"
            end = TrialEnd(cause=Cause.PRUNED, value=None, detail=detail)
        else:
            # A former owner may have died between the checkpoint of a rung and the pause there.
            rung = rung_to_wait_at(trial.values, rules.pauses)
            if rung and epochs.epochs_done >= last_epoch(trial.values, recipe.n_epochs):
                raise PausedAtRung(rung)
            try:
                end = run_trial(trial, guarded(epochs, lease, stop), recipe.n_epochs, rules)
            except PausedAtRung:
                epochs.save()
                raise
        account = TrialAccount(
            cause=end.cause,
            detail=end.detail,
            seconds=epochs.seconds,
            n_epochs=max(epochs.epochs_done, last_epoch(trial.values, recipe.n_epochs)),
            n_samples=epochs.n_samples,
            share_transferred=share,
            precision=run.precision,
            device=device_facts(self.arms.device),
            worker=claim.owner,
            software=software(),
        )
        if end.cause is Cause.DONE:
            trial.close(TrialState.COMPLETE, end.value, to_json(account))
        else:
            # As Optuna does: the value of a pruned trial is its last report, if there is one.
            trial.close(TrialState.PRUNED, last_report(trial.values), to_json(account))
        epochs.discard()
        return _end(account)

    def give_up(self, lease: Lease, cause: Cause, reason: str) -> None:
        """Close the slot's Optuna trial as failed, with the reason."""
        from optuna.trial import TrialState

        trial = self._opened(read(TrialPayload, lease.claim.payload), lease)
        account = RunAccount(cause=cause, detail=reason, worker=lease.claim.owner)
        trial.close(TrialState.FAIL, None, to_json(account))
        super().give_up(lease, cause, reason)

    def _opened(self, payload: TrialPayload, lease: Lease) -> "LeasedTrial":
        from ecgopt.database.optuna.studies import open_study
        from ecgopt.jobs.leased_trial import LeasedTrial

        place = (self.database, self.arms.spec, payload.study, payload.slot)
        return LeasedTrial.open(lease.retrying(lambda: open_study(*place)), payload.slot, lease)


def _end(account: TrialAccount) -> ItemEnd:
    return ItemEnd(cause=account.cause, result=to_json(account), detail=account.detail)
