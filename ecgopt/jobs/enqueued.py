"""Configurations that a user enqueued: trained once in each study of a regime."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecgopt.database.engine import Database
from ecgopt.errors import UserError, did_you_mean
from ecgopt.jobs.beside import BesideJob, BesideResult
from ecgopt.jobs.configuration import Configuration, arm_recipe
from ecgopt.jobs.job import ItemEnd, Stop, StudyPayload, read
from ecgopt.jobs.trial import start_group
from ecgopt.models.registry import freezable_stages
from ecgopt.queue.items import NewItem, add_missing
from ecgopt.queue.lease import Lease
from ecgopt.queue.locking import lock_comparison
from ecgopt.queue.results import count_in_group
from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.regimes.regimes import REGIMES, Regime
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.recipe import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedPayload(StudyPayload):
    """A user's configuration."""

    number: int
    parameters: Mapping[str, Value]
    """What is not named is the study file's recipe."""
    label: str


class EnqueuedJob(BesideJob):
    """Trains a configuration of a user's own, unpruned."""

    kind = "enqueued"
    title = "enqueued"
    priority = 900  # after pre-trainings and before all trials: a user waits for the answer
    recipe = "enqueued"

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Sequence[NewItem]:  # noqa: ARG003
        """Return no item: `enqueue` adds them."""
        return ()

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train and note the validation score at the end of the schedule."""
        spec, payload = self.arms.spec, read(EnqueuedPayload, lease.claim.payload)
        key, number, parameters = payload.study, payload.number, payload.parameters
        chosen = Configuration(
            trial_number=number,
            parameters=parameters,
            recipe=arm_recipe(spec, key, "tuned", parameters),
        )
        seed = seed_for(spec.seed, "enqueued", key.downstream, key.n_train, key.replicate, number)
        whole = self.train(lease, stop, chosen, seed=seed)
        return self.end(whole, chosen, number=number, label=payload.label)

    @classmethod
    def details(cls, result: BesideResult) -> Mapping[str, str | int]:
        """Return the device, and the user's name for the run."""
        return {"device": result.device, "label": result.label}


def enqueue(
    database: Database,
    comparison: str,
    studies: Sequence[StudyKey],
    parameters: Mapping[str, Value],
    label: str,
) -> list[str]:
    """Add the configuration once to each of the studies; return the keys of the new items.

    Args:
        database: Of the comparison.
        comparison: Its name.
        studies: That the configuration is trained in.
        parameters: As `checked_parameters` returns them.
        label: What the run is called in lists.
    """
    with database.transaction() as connection:
        lock_comparison(connection, comparison)
        items = []
        for key in studies:
            group = f"enqueued/{key.path}"
            number = count_in_group(connection, comparison, group)
            payload = EnqueuedPayload(study=key, number=number, parameters=parameters, label=label)
            name = f"{key.path}/{number:04d}"
            items.append(EnqueuedJob.item(name, payload, group=group, needs=start_group(key)))
        add_missing(connection, comparison, items)
    return [item.key for item in items]


def checked_parameters(
    spec: StudySpec, studies: Sequence[StudyKey], texts: Mapping[str, str]
) -> dict[str, Value]:
    """Return the values that a user gave as text; what is not given is the study file's recipe.

    Raises:
        UserError: a name or a value has no meaning in one of the studies.
    """
    return {name: _value(spec, studies, name, text) for name, text in texts.items()}


def _value(spec: StudySpec, studies: Sequence[StudyKey], name: str, text: str) -> Value:
    for key in studies:
        if name not in (known := _meaningful(spec.start(key.regime))):
            hint = did_you_mean(name, known)
            raise UserError(f"{name!r} is not a parameter of {key.regime}: {hint}")
    most = math.inf
    if name == "frozen_stages":
        most = min(freezable_stages(key.model.spec()) for key in studies)
    value = PARAMETERS[name].parsed(text)
    if problem := PARAMETERS[name].problem(value, high=most):
        raise UserError(problem)
    return value


def _meaningful(own: Regime) -> list[str]:
    special = {name for other in REGIMES.values() for name in other.own_parameters}
    return [
        name
        for name in PARAMETERS
        if (name not in special or name in own.own_parameters) and name not in own.unused_parameters
    ]
