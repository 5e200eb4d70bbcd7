"""Sanity checks: labels that say nothing of their records must score 0.5, a rerun must repeat.

Shuffled labels: training and validation labels are permuted together. With true validation labels
a network that learned nothing would still not score 0.5: it is some function of the signal, and
any such function orders the true labels, one way or the other. With permuted ones 0.5 is exact in
expectation, its sampling error is known, and a record in both parts would be memorised and show.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from ecgopt.causes import Cause
from ecgopt.data.folds import Folds, held_out
from ecgopt.data.splits import EcgDataset, TuningData
from ecgopt.evidence.records import SanityCheck
from ecgopt.evidence.selection import choose_winner
from ecgopt.jobs.beside import BesideJob, WholeRun
from ecgopt.jobs.configuration import configuration_of
from ecgopt.jobs.job import ItemEnd, RunAccount, Stop, StudyPayload, read, to_json
from ecgopt.jobs.trial import trial_group, trial_seed
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.queue.results import EndedItem
from ecgopt.seeds import generator_for, seed_for
from ecgopt.shapes import Bool, Float
from ecgopt.study_file.cells import ALL_RECORDS, StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.metrics import auroc_within, comparable_pairs, macro_auroc

CheckName = Literal["shuffled_labels", "rerun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPayload(StudyPayload):
    """Which check of a study."""

    check: CheckName


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult(RunAccount):
    """What a check measured."""

    name: CheckName
    values: tuple[float, ...]
    details: Mapping[str, Any]


class CheckJob(BesideJob):
    """Runs one sanity check of one study."""

    kind = "check"
    title = "checks"
    priority = 3_000_000

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield the checks of each regime, on its study with the most records."""
        wanted: Mapping[CheckName, bool] = {
            "shuffled_labels": spec.diagnostics.shuffled_labels,
            "rerun": spec.diagnostics.rerun,
        }
        for key in _largest_of_each_regime(keys):
            for name in (name for name, is_wanted in wanted.items() if is_wanted):
                yield cls.item(
                    f"{key.path}/{name}",
                    CheckPayload(study=key, check=name),
                    group=f"check/{key.path}",
                    needs=trial_group(key),
                )

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Run the check that the item names."""
        checks = {"rerun": self._rerun, "shuffled_labels": self._shuffled_labels}
        payload = read(CheckPayload, lease.claim.payload)
        return checks[payload.check](payload.study, lease, stop)

    def _rerun(self, key: StudyKey, lease: Lease, stop: Stop) -> ItemEnd:
        """Train the shortest complete trial again, with its seed and parameters."""
        from ecgopt.jobs.leased_trial import trials_of

        spec = self.arms.spec
        trials = trials_of(self.database, spec, key)
        complete = [trial for trial in trials if trial.state == "complete"]
        if not complete:
            return ItemEnd(cause=Cause.DONE, result={}, detail="no trial is complete")
        first = min(complete, key=lambda trial: (trial.n_epochs, trial.number))
        chosen = configuration_of(spec, key, first)
        whole = self.train(lease, stop, chosen, seed=trial_seed(spec, key, first.number))
        return _end(
            whole,
            "rerun",
            values=(first.value, whole.value),
            details={
                "trial": first.number,
                "devices": [first.details.get("device", ""), whole.account.device],
                "hosts": [_host(first.details.get("worker", "")), _host(lease.claim.owner)],
            },
        )

    def _shuffled_labels(self, key: StudyKey, lease: Lease, stop: Stop) -> ItemEnd:
        """Train the winner's recipe on permuted labels and score it on permuted validation ones."""
        from ecgopt.jobs.leased_trial import trials_of

        spec = self.arms.spec
        trials = trials_of(self.database, spec, key)
        if not any(trial.state == "complete" for trial in trials):
            return ItemEnd(cause=Cause.DONE, result={}, detail="no trial is complete")
        chosen = configuration_of(spec, key, choose_winner(trials))
        folds, _ = self.arms.split(key)
        place = (spec.seed, "shuffled labels", key.downstream, key.n_train, key.replicate)
        shuffled = with_shuffled_labels(folds, generator_for(*place, "labels"))
        whole = self.train(lease, stop, chosen, seed=seed_for(*place), folds=shuffled)
        if whole.account.cause is Cause.DIVERGED:
            return ItemEnd(cause=Cause.DIVERGED, result={}, detail=whole.account.detail)
        validation = held_out(shuffled)
        error = permutation_error(
            validation.labels > 0,
            whole.run.predict_validation().astype(np.float64),
            generator_for(*place, "permutations"),
            fold_sizes=[len(fold.validation) for fold in shuffled],
        )
        return _end(
            whole,
            "shuffled_labels",
            values=(whole.value,),
            details={
                "standard_error": error,
                "n_validation": len(validation),
                "trial": chosen.trial_number,
            },
        )

    @classmethod
    def record(cls, item: EndedItem) -> SanityCheck | None:  # type: ignore[override]
        """Return what was measured; None where the study had no complete trial."""
        if not item.result or item.is_set_aside:
            return None
        result = read(CheckResult, item.result)
        return SanityCheck(
            name=result.name,
            study=read(StudyPayload, item.payload).study.path,
            values=result.values,
            details=result.details,
            n_epochs=result.n_epochs,
            seconds=result.seconds,
            n_samples=result.n_samples,
        )


def _end(
    whole: WholeRun,
    name: CheckName,
    *,
    values: tuple[float | None, ...],
    details: Mapping[str, Any],
) -> ItemEnd:
    # A run that left the finite numbers equals no score.
    numbers = tuple(math.nan if value is None else value for value in values)
    result = CheckResult(**to_json(whole.account), name=name, values=numbers, details=details)
    whole.epochs.discard()
    return ItemEnd(cause=Cause.DONE, result=to_json(result), detail=result.detail)


def _host(worker: str) -> str:
    return worker.split(":", 1)[0]


def _largest_of_each_regime(keys: Iterable[StudyKey]) -> list[StudyKey]:
    """Return each regime's study with the most records, where chance scatters least."""
    largest: dict[str, StudyKey] = {}
    for key in keys:
        if key.regime not in largest or _n_records(key) > _n_records(largest[key.regime]):
            largest[key.regime] = key
    return list(largest.values())


def _n_records(key: StudyKey) -> float:
    return math.inf if key.n_train == ALL_RECORDS else key.n_train


N_PERMUTATIONS: Final = 400
"""Enough to know a standard error to a twenty-fifth of itself."""


def with_shuffled_labels(folds: Folds, random: np.random.Generator) -> Folds:
    """Return `folds` with the label rows of all their records permuted.

    A record keeps one row of labels wherever it stands.
    """
    parts = [part for fold in folds for part in (fold.train, fold.validation)]
    rows, first = np.unique(np.concatenate([part.rows for part in parts]), return_index=True)
    labels = np.concatenate([part.labels for part in parts])[first]
    permuted = labels[random.permutation(len(rows))]

    def relabelled(part: EcgDataset) -> EcgDataset:
        return replace(part, labels=permuted[np.searchsorted(rows, part.rows)])

    return tuple(TuningData(relabelled(fold.train), relabelled(fold.validation)) for fold in folds)


def permutation_error(
    labels: Bool[np.ndarray, "record label"],
    scores: Float[np.ndarray, "record label"],
    random: np.random.Generator,
    *,
    fold_sizes: Sequence[int] | None = None,
) -> float:
    """Return the standard deviation of macro AUROC when `labels` are permuted over records.

    Rows stay whole, so labels that occur together keep doing so. With `fold_sizes`, the numbers of
    records of each fold in their order, records are compared within their fold only.
    """
    bounds = np.cumsum(fold_sizes if fold_sizes is not None else [len(labels)])[:-1]
    scores_by_fold = np.split(scores, bounds)
    drawn = []
    for _ in range(N_PERMUTATIONS):
        labels_by_fold = np.split(labels[random.permutation(len(labels))], bounds)
        parts = [macro_auroc(*part) for part in zip(labels_by_fold, scores_by_fold, strict=True)]
        pairs = np.stack([comparable_pairs(part) for part in labels_by_fold])
        drawn.append(auroc_within(parts, pairs).value)
    return float(np.std(drawn))
