"""Which pruned trials are trained to their end: apart from the audit, whose statistics load slowly.

Workers choose, and reports choose again to check them.
"""

from collections.abc import Iterable

from ecgopt.evidence.records import TrialEvidence


def choose_for_audit(trials: Iterable[TrialEvidence], n_audited: int | None) -> list[TrialEvidence]:
    """Return the pruned trials that scored highest when they were stopped, best first; None: all.

    These are the likeliest mistakes, so the false-prune rate among them is an upper bound of the
    rate among all.
    """
    pruned = [trial for trial in trials if is_pruned(trial) and trial.value is not None]
    return sorted(pruned, key=lambda trial: (-(trial.value or 0.0), trial.number))[:n_audited]


def is_pruned(trial: TrialEvidence) -> bool:
    """Return whether the pruner stopped a trial of the budget."""
    return (
        trial.state == "pruned"
        and trial.cause in ("pruned", "")
        and trial.recipe in ("tuned", "published")
    )
