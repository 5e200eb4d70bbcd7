"""Pre-training trials: the small search of which a pre-training takes the best."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ecgopt.jobs.job import ItemEnd, Job, Stop, read
from ecgopt.jobs.pretrain import (
    PretrainPayload,
    n_search_trials,
    pretrain,
    pretrainings,
    search_group,
)
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainTrialPayload(PretrainPayload):
    """Which trial of a pre-training's search."""

    number: int


def pretraining_parameters(spec: StudySpec, name: str, number: int) -> dict[str, Value]:
    """Return what trial `number` changes in the recipe of `[pretrain]`: nothing, if it is 0.

    The draws are independent of each other, so that trials need not wait for each other.
    """
    import optuna

    tuning = spec.pretrain.tuning
    if tuning is None or number == 0:
        return {}
    seed = seed_for(spec.seed, "pretrain", name, "trial", number) % 2**32
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return study.ask(tuning.search_space().distributions()).params


class PretrainTrialJob(Job):
    """Pre-trains one model on one upstream with one recipe of the search."""

    kind = "pretrain_trial"
    title = "pre-training trials"
    priority = 1  # a pre-training whose search is done comes before the next search

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield the trials of each upstream's and model's search."""
        for payload in pretrainings(keys):
            for number in range(n_search_trials(spec, payload.upstream)):
                yield cls.item(
                    f"{payload.name}/{number:03d}",
                    PretrainTrialPayload(
                        upstream=payload.upstream,
                        model=payload.model,
                        run=payload.run,
                        number=number,
                    ),
                    group=search_group(payload.name),
                )

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train, and store the epoch best on upstream validation under the trial's own name."""
        payload = read(PretrainTrialPayload, lease.claim.payload)
        parameters = pretraining_parameters(self.arms.spec, payload.name, payload.number)
        return pretrain(
            self.arms, lease, stop, payload, trial=payload.number, parameters=parameters
        )
