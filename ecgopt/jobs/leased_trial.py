"""A study's trials in Optuna: written under the lease of a work item, and read as evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ecgopt.causes import Cause
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import id_of, propose, reports_of, slot_trial
from ecgopt.database.optuna.trial_rows import (
    RECIPE,
    RUN,
    ReportExists,
    add_report,
    begin_trial,
    close_trial,
    put_attribute,
)
from ecgopt.evidence.records import TrialEvidence
from ecgopt.jobs.pruning import promoted
from ecgopt.queue.lease import Lease
from ecgopt.regimes.hyperparameters import SearchSpace
from ecgopt.study_file.cells import StudyKey, study_name
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import PruningTable
from ecgopt.training.recipe import Value

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


_DETAILS = ("detail", "precision", "device", "worker", "software")


@dataclass(frozen=True, slots=True)
class LeasedTrial:
    """A trial whose every write is in one transaction with the renewal of the lease.

    Optuna knows no fence: while a trial runs, the last writer wins. Here what a former owner
    writes fails together with the check of its fence. Each write may be repeated: what an earlier
    attempt committed, although its answer was lost, stays as it is.

    Every method raises `LeaseLost` when the trial belongs to another worker, or when the database
    stayed away too long.
    """

    study: optuna.Study
    lease: Lease
    stored: FrozenTrial
    """As it was when it was opened, and the reports since."""

    @classmethod
    def open(cls, study: optuna.Study, slot: int, lease: Lease) -> "LeasedTrial":
        """Return the study's trial of this slot."""
        return cls(study, lease, lease.retrying(lambda: slot_trial(study, slot)))

    @property
    def values(self) -> Mapping[int, float]:
        """What was reported so far, by ladder step, by all owners."""
        return self.stored.intermediate_values

    def begin(self, space: SearchSpace) -> dict[str, Value]:
        """Return the trial's parameters, RUNNING with them from now on."""
        parameters = self.lease.retrying(lambda: propose(self.study, self.stored, space))
        if self.stored.state is TrialState.WAITING:
            trial_id = id_of(self.stored)
            self.lease.write(
                lambda connection: begin_trial(connection, trial_id, parameters, space)
            )
        return parameters

    def report(self, step: int, value: float) -> None:
        """Report a score."""
        trial_id = id_of(self.stored)
        try:
            self.lease.write(lambda connection: add_report(connection, trial_id, step, value))
        except ReportExists:
            # An earlier attempt was committed although its answer was lost.
            self.lease.check()
        self.stored.intermediate_values[step] = value

    def should_prune(self) -> bool:
        """Ask the study's pruner about the reports so far."""
        return bool(self.lease.retrying(lambda: self.study.pruner.prune(self.study, self.stored)))

    def is_promoted(self, table: PruningTable, rung: int) -> bool:
        """Return whether the trial continues from a rung to which its whole bracket has come."""
        number = table.bracket_of(self.stored.number)
        assert number is not None, "a trial without a bracket never pauses"
        slots = table.bracket_slots(number)
        reports = self.lease.retrying(lambda: reports_of(self.study, slots))
        return self.stored.number in promoted(reports, rung, table.promoted)

    def note(self, key: str, value: object) -> None:
        """Write a user attribute in place of the present one."""
        trial_id = id_of(self.stored)
        self.lease.write(lambda connection: put_attribute(connection, trial_id, key, value))

    def close(self, state: TrialState, value: float | None, account: Mapping[str, Any]) -> None:
        """End the trial with its value and its account."""
        trial_id = id_of(self.stored)
        self.lease.write(
            lambda connection: close_trial(connection, trial_id, state, value, account)
        )


def trials_of(database: Database, spec: StudySpec, key: StudyKey) -> tuple[TrialEvidence, ...]:
    """Return the trials of one study's budget, by number."""
    study = optuna.load_study(study_name=study_name(spec.name, key), storage=database.optuna)
    every = study.get_trials(deepcopy=False)
    return tuple(_evidence(frozen) for frozen in every if RECIPE in frozen.user_attrs)


def n_trials_of_others(database: Database, spec: StudySpec, key: StudyKey) -> int:
    """Return how many trials others added to one study with plain Optuna."""
    study = optuna.load_study(study_name=study_name(spec.name, key), storage=database.optuna)
    return sum(RECIPE not in frozen.user_attrs for frozen in study.get_trials(deepcopy=False))


def _evidence(frozen: FrozenTrial) -> TrialEvidence:
    run: Mapping[str, Any] = frozen.user_attrs.get(RUN, {})
    # No worker of the comparison ended it, but someone with plain Optuna.
    is_foreign = frozen.state.is_finished() and not run
    state = TrialState.FAIL if is_foreign else frozen.state
    return TrialEvidence(
        number=frozen.number,
        state=_STATES[state],  # type: ignore[arg-type]  # the five names above
        cause=Cause(run["cause"]) if run else "",
        value=None if is_foreign else frozen.value,
        parameters=dict(frozen.params),
        reports={int(step): float(value) for step, value in frozen.intermediate_values.items()},
        n_epochs=run.get("n_epochs", 0),
        seconds=run.get("seconds", 0.0),
        n_samples=run.get("n_samples", 0),
        recipe=frozen.user_attrs.get(RECIPE, "tuned"),
        details={name: run[name] for name in _DETAILS if name in run},
    )
