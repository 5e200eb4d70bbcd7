"""What a worker does beside the comparison: diagnostics, and what users enqueued.

None of it opens the sealed test, none reports to Optuna, and no winner depends on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgopt.data.folds import Folds, held_out
from ecgopt.database.engine import Database
from ecgopt.evidence.audit_choice import choose_for_audit
from ecgopt.evidence.records import TrialEvidence
from ecgopt.evidence.selection import choose_winner
from ecgopt.jobs.configuration import (
    Configuration,
    configuration_of,
    with_learning_rate,
)
from ecgopt.jobs.pruning import ladder
from ecgopt.jobs.results import trials_of
from ecgopt.jobs.run_to_end import WholeRun, train_whole
from ecgopt.jobs.runs import ArmRuns, arm_recipe
from ecgopt.jobs.shuffled import permutation_error, with_shuffled_labels
from ecgopt.jobs.trial import OnItsOwn, trial_seed
from ecgopt.jobs.worker import Handler, ItemEnd
from ecgopt.queue.lease import Lease
from ecgopt.seeds import generator_for, seed_for
from ecgopt.study_file.cells import StudyKey, study_key
from ecgopt.training.run import Run

Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Diagnostic(OnItsOwn):
    """Trains one configuration of one study to its end."""

    database: Database
    arms: ArmRuns

    def _train(
        self,
        lease: Lease,
        stop: Stop,
        chosen: Configuration,
        *,
        seed: int,
        folds: Folds | None = None,
    ) -> tuple[Run, WholeRun]:
        run, _ = self.arms.build(
            study_key(lease.claim.payload),
            chosen.recipe,
            seed=seed,
            evaluate_after=frozenset(ladder(chosen.recipe.n_epochs)),
            folds=folds,
        )
        return run, train_whole(self.arms, lease, stop, run)

    def _trials(self, key: StudyKey) -> tuple[TrialEvidence, ...]:
        return trials_of(self.database, self.arms.spec, key)


@dataclass(frozen=True, slots=True)
class RateJob(_Diagnostic):
    """Trains the published recipe at another learning rate, unpruned."""

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train and note the validation score at the end of the schedule."""
        spec, payload = self.arms.spec, lease.claim.payload
        key, number = study_key(payload), int(payload["index"]) + 1
        chosen = with_learning_rate(spec, key, float(payload["learning_rate"]), number)
        # Not the regime: the arms are paired here as everywhere.
        seed = seed_for(
            spec.seed, "rate", key.downstream, key.n_train, key.replicate, payload["index"]
        )
        _, whole = self._train(lease, stop, chosen, seed=seed)
        return _end(whole, self.arms, lease, chosen, {"number": number})


@dataclass(frozen=True, slots=True)
class AuditJob(_Diagnostic):
    """Trains one of a study's best pruned trials to its end."""

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Repeat the trial from its seed, this time to the end of its schedule."""
        spec, key = self.arms.spec, study_key(lease.claim.payload)
        rank = int(lease.claim.payload["rank"])
        candidates = choose_for_audit(self._trials(key), rank + 1)
        if len(candidates) <= rank:
            detail = f"only {len(candidates)} trials were pruned"
            return ItemEnd(cause="done", result={"audit_of": None}, detail=detail)
        pruned = candidates[rank]
        chosen = configuration_of(spec, key, pruned)
        _, whole = self._train(lease, stop, chosen, seed=trial_seed(spec, key, pruned.number))
        return _end(whole, self.arms, lease, chosen, {"audit_of": pruned.number})


@dataclass(frozen=True, slots=True)
class EnqueuedJob(_Diagnostic):
    """Trains a configuration of a user's own, unpruned."""

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train and note the validation score at the end of the schedule."""
        spec, payload = self.arms.spec, lease.claim.payload
        key, number = study_key(payload), int(payload["number"])
        parameters = dict(payload["parameters"])
        chosen = Configuration(
            trial_number=number,
            parameters=parameters,
            recipe=arm_recipe(spec, key, "tuned", parameters),
        )
        place = (key.downstream, key.n_train, key.replicate, number)
        _, whole = self._train(lease, stop, chosen, seed=seed_for(spec.seed, "enqueued", *place))
        extra = {"number": number, "label": payload["label"]}
        return _end(whole, self.arms, lease, chosen, extra)


@dataclass(frozen=True, slots=True)
class CheckJob(_Diagnostic):
    """Runs one sanity check of one study."""

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Run the check that the item names."""
        checks = {"rerun": self._rerun, "shuffled_labels": self._shuffled_labels}
        return checks[lease.claim.payload["check"]](lease, stop)

    def _rerun(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train the shortest complete trial again, with its seed and parameters."""
        spec, key = self.arms.spec, study_key(lease.claim.payload)
        complete = [trial for trial in self._trials(key) if trial.state == "complete"]
        if not complete:
            return ItemEnd(cause="done", result={}, detail="no trial is complete")
        first = min(complete, key=lambda trial: (trial.n_epochs, trial.number))
        chosen = configuration_of(spec, key, first)
        _, whole = self._train(lease, stop, chosen, seed=trial_seed(spec, key, first.number))
        again = whole.epochs.curve[-1] if not whole.divergence else None
        return _check(
            whole, self.arms, lease, "rerun",
            values=[first.value, again],
            details={
                "trial": first.number,
                "devices": [first.details.get("device", ""), str(self.arms.device)],
                "hosts": [_host(first.details.get("worker", "")), _host(lease.claim.owner)],
            },
        )  # fmt: skip

    def _shuffled_labels(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train the winner's recipe on permuted labels and score it on permuted validation ones."""
        spec, key = self.arms.spec, study_key(lease.claim.payload)
        trials = self._trials(key)
        if not any(trial.state == "complete" for trial in trials):
            return ItemEnd(cause="done", result={}, detail="no trial is complete")
        chosen = configuration_of(spec, key, choose_winner(trials))
        folds, _ = self.arms.split(key)
        place = (spec.seed, "shuffled labels", key.downstream, key.n_train, key.replicate)
        shuffled = with_shuffled_labels(folds, generator_for(*place, "labels"))
        run, whole = self._train(lease, stop, chosen, seed=seed_for(*place), folds=shuffled)
        if whole.divergence:
            return ItemEnd(cause="diverged", result={}, detail=whole.divergence)
        validation = held_out(shuffled)
        error = permutation_error(
            validation.labels > 0,
            run.predict_validation().astype(np.float64),
            generator_for(*place, "permutations"),
            fold_sizes=[len(fold.validation) for fold in shuffled],
        )
        return _check(
            whole, self.arms, lease, "shuffled_labels",
            values=[whole.epochs.curve[-1]],
            details={
                "standard_error": error,
                "n_validation": len(validation),
                "trial": chosen.trial_number,
            },
        )  # fmt: skip


def diagnostic_handlers(database: Database, arms: ArmRuns) -> dict[Any, Handler]:
    """Return the handlers of all diagnostic work items, by their kind."""
    return {
        "rate": RateJob(database, arms),
        "audit": AuditJob(database, arms),
        "check": CheckJob(database, arms),
        "enqueued": EnqueuedJob(database, arms),
    }


def _end(
    whole: WholeRun,
    arms: ArmRuns,
    lease: Lease,
    chosen: Configuration,
    extra: Mapping[str, Any],
) -> ItemEnd:
    result = {
        **whole.account(arms, lease),
        **whole.scores(chosen.recipe.n_epochs),
        "parameters": dict(chosen.parameters),
        **extra,
    }
    whole.epochs.discard()
    # A run that diverged has its answer: the item is done, and its result says how.
    return ItemEnd(cause="done", result=result, detail=whole.divergence)


def _check(
    whole: WholeRun,
    arms: ArmRuns,
    lease: Lease,
    name: str,
    *,
    values: list[float | None],
    details: Mapping[str, Any],
) -> ItemEnd:
    result = {
        **whole.account(arms, lease),
        "name": name,
        # A run that fell out of the finite numbers equals no score.
        "values": [float("nan") if value is None else value for value in values],
        "details": dict(details),
    }
    whole.epochs.discard()
    return ItemEnd(cause="done", result=result, detail=whole.divergence)


def _host(worker: str) -> str:
    return worker.split(":", 1)[0]
