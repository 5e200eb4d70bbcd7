"""Learning rates: the published recipe at other rates, so that it too may choose its own."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ecgopt.database.engine import Database
from ecgopt.evidence.records import TrialEvidence
from ecgopt.jobs.beside import BesideJob
from ecgopt.jobs.configuration import with_learning_rate
from ecgopt.jobs.job import ItemEnd, Stop, StudyPayload, read
from ecgopt.jobs.trial import trial_group
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.queue.results import ended_items
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePayload(StudyPayload):
    """Which learning rate of a study."""

    index: int
    learning_rate: float


def rate_group(key: StudyKey) -> str:
    """Return the group of a study's learning-rate items."""
    return f"rates/{key.path}"


def learning_rates(spec: StudySpec, key: StudyKey) -> list[float]:
    """Return the rates that the published recipe is tried with: mid-points of equal log steps.

    The recipe's own rate is not among them, because trial 0 has tried it.
    """
    n_rates = spec.diagnostics.learning_rates
    span = spec.search_space(key.regime).numeric("learning_rate")
    if span is None:
        return []  # a probe without gradient descent
    decades = math.log10(span.high / span.low)
    return [
        float(f"{span.low * 10 ** (decades * (index + 0.5) / n_rates):.3g}")
        for index in range(n_rates)
    ]


class RateJob(BesideJob):
    """Trains the published recipe at another learning rate, unpruned."""

    kind = "rate"
    title = "learning rates"
    priority = 1_900_000  # before the final fits, which wait for them
    recipe = "extra"

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield one item for each learning rate of each study."""
        for key in keys:
            for index, rate in enumerate(learning_rates(spec, key)):
                yield cls.item(
                    f"{key.path}/{index:02d}",
                    RatePayload(study=key, index=index, learning_rate=rate),
                    group=rate_group(key),
                    needs=trial_group(key),
                    rank=index,
                )

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train and note the validation score at the end of the schedule."""
        spec, payload = self.arms.spec, read(RatePayload, lease.claim.payload)
        key, number = payload.study, payload.index + 1
        chosen = with_learning_rate(spec, key, payload.learning_rate, number)
        # Not the regime: the arms are paired here as everywhere.
        seed = seed_for(
            spec.seed, "rate", key.downstream, key.n_train, key.replicate, payload.index
        )
        return self.end(self.train(lease, stop, chosen, seed=seed), chosen, number=number)


def rate_trials(database: Database, spec: StudySpec, key: StudyKey) -> list[TrialEvidence]:
    """Return the study's runs at other learning rates that have ended."""
    found = map(RateJob.record, ended_items(database, spec.name, group=rate_group(key)))
    return [trial for trial in found if trial is not None]
