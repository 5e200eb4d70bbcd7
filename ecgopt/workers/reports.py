"""The reports of a trial under a lease."""

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.trial import Trial
from sqlalchemy.exc import IntegrityError

from ecgopt.tuning.studies import add_report
from ecgopt.workers.lease import Lease


@dataclass(frozen=True, slots=True)
class FencedReports:
    """Reports each in one transaction with the renewal of the lease, or not at all.

    Optuna knows no fence: while a trial runs, whoever reports a step last wins. Here a former
    owner's report fails together with the check of its fence.
    """

    trial: Trial
    lease: Lease

    @property
    def values(self) -> Mapping[int, float]:
        """What was reported so far, by ladder step, by all owners."""
        return self.trial._cached_frozen_trial.intermediate_values

    def report(self, step: int, value: float) -> None:
        """Report a score.

        Raises:
            LeaseLost: the trial belongs to another worker, or the database stayed away too long.
        """
        try:
            self.lease.write(lambda connection: add_report(connection, self.trial, step, value))
        except IntegrityError:
            # The step is there: an earlier attempt was committed although its answer was lost.
            self.lease.check()
        self.trial._cached_frozen_trial.intermediate_values[step] = value

    def should_prune(self) -> bool:
        """Ask the study's pruner about the reports so far.

        Raises:
            LeaseLost: the database stayed away too long.
        """
        return self.lease.retrying(self.trial.should_prune)
