"""The contract of a tracker: it lists the runs that it holds, and gets those that are new."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from ecgopt.errors import UserError
from ecgopt.evidence.records import FinalEvidence, ParameterValue, StudyEvidence


class TrackerError(UserError):
    """A tracker cannot be used; the study is not concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """A trial or final fit that has ended, in the words that trackers share."""

    name: str
    """Unique in its comparison: `tiny/scratch/.../trial 0007`."""
    tags: Mapping[str, str]
    parameters: Mapping[str, ParameterValue]
    metrics: Mapping[str, float]
    curve: Mapping[int, float] = field(default_factory=dict)
    """Rung (1..10, tenths of the schedule) to the validation score; final fits have none."""
    curve_name: str = "validation_macro_auroc"
    is_failed: bool = False


class Tracker(Protocol):
    """Holds the runs of one comparison."""

    def names(self) -> Set[str]:
        """Return the names of the runs that it holds."""

    def add(self, run: TrackedRun) -> None:
        """Add a run, whole or not at all.

        Raises:
            TrackerError: it cannot be written.
        """


def runs_of(
    studies: Sequence[StudyEvidence], finals: Sequence[FinalEvidence] = ()
) -> Iterator[TrackedRun]:
    """Yield all trials and final fits that have ended."""
    for study in studies:
        for trial in study.trials:
            if not trial.has_ended:
                continue
            values = {"seconds": trial.seconds, "epochs": float(trial.n_epochs)}
            values |= {"samples": float(trial.n_samples)}
            if trial.value is not None:
                values["validation_macro_auroc_at_end"] = trial.value
            yield TrackedRun(
                name=f"{study.study}/{_kind(trial.recipe)} {trial.number:04d}",
                tags=_tags(study) | {"state": trial.state, "cause": trial.cause, "kind": "trial"},
                parameters=trial.parameters,
                metrics=values,
                curve=trial.reports,
                is_failed=trial.state == "failed",
            )
    for final in finals:
        yield TrackedRun(
            name=f"{final.study}/final {final.role} seed {final.seed_index}",
            tags=_tags(final) | {"state": "complete", "kind": "final fit", "role": final.role},
            parameters=final.parameters,
            metrics={f"test_{name}": value for name, value in final.metrics.items()}
            | {"seconds": final.seconds, "epochs": float(final.n_epochs)},
        )


def _kind(recipe: str) -> str:
    """Return what a trial is called; those outside the budget have numbers of their own."""
    return "trial" if recipe in ("tuned", "published") else f"{recipe} trial"


def _tags(of: StudyEvidence | FinalEvidence) -> dict[str, str]:
    return {
        "regime": of.regime,
        "upstream": of.upstream or "",
        "downstream": of.downstream,
        "model": of.model,
        "n_train": str(of.n_train),
        "replicate": str(of.replicate),
    }
