"""A run trained to its end under a lease: final fits and diagnostics, which nothing prunes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ecgopt.errors import TrialDiverged
from ecgopt.jobs.pruning import ladder
from ecgopt.jobs.resumption import Resumable, ResumableEpochs
from ecgopt.jobs.runs import ArmRuns
from ecgopt.jobs.trial import guarded
from ecgopt.queue.lease import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRun:
    """What training left behind."""

    epochs: ResumableEpochs
    divergence: str
    """Why training left the finite numbers; empty where it reached its end."""

    @property
    def cause(self) -> str:
        """How the run ended, as a trial would say it."""
        return "diverged" if self.divergence else "done"

    def account(self, arms: ArmRuns, lease: Lease) -> dict[str, Any]:
        """Return how the run ended and what it cost, as plain JSON."""
        return {
            "cause": self.cause,
            "detail": self.divergence,
            "seconds": self.epochs.seconds,
            "n_epochs": self.epochs.epochs_done,
            "n_samples": self.epochs.n_samples,
            "device": str(arms.device),
            "worker": lease.claim.owner,
        }

    def scores(self, n_epochs: int) -> dict[str, Any]:
        """Return validation macro AUROC by ladder step and at the end, as plain JSON."""
        curve = self.epochs.curve
        reports: Mapping[int, float | None] = {
            step: curve[epoch - 1]
            for epoch, step in ladder(n_epochs).items()
            if epoch <= len(curve) and curve[epoch - 1] is not None
        }
        return {"reports": reports, "value": None if self.divergence else curve[-1]}


def train_whole(
    arms: ArmRuns,
    lease: Lease,
    stop: Callable[[], bool],
    run: Resumable,
    *,
    measure: Callable[[], float] | None = None,
) -> WholeRun:
    """Train `run` to its end, resumed from where a former owner left it.

    Args:
        arms: Of the comparison.
        lease: Of the work item.
        stop: Whether this worker was asked to leave.
        run: Freshly built.
        measure: Called after each epoch; its values are kept with the checkpoints.

    Raises:
        LeaseLost: another worker owns the item now.
        StopRequested: after saving the state.
    """
    epochs = ResumableEpochs(
        run,
        arms.workspace.run_state(arms.spec.name, lease.claim.key),
        checkpoint_seconds=arms.spec.workers.checkpoint_seconds,
        measure=measure,
    )
    divergence = ""
    try:
        for _ in guarded(epochs, lease, stop):
            pass
    except TrialDiverged as error:
        divergence = str(error)
    lease.assert_held()
    return WholeRun(epochs=epochs, divergence=divergence)
