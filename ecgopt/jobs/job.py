"""The contract of a kind of work: its payload, its items, what a worker does, what it leaves."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from pydantic import TypeAdapter

from ecgopt.causes import Cause
from ecgopt.database.engine import Database
from ecgopt.errors import TrialDiverged
from ecgopt.evidence.records import FinalEvidence, PretrainEvidence, SanityCheck, TrialEvidence
from ecgopt.jobs.provenance import software
from ecgopt.queue.items import Claim, NewItem
from ecgopt.queue.lease import Lease
from ecgopt.queue.results import EndedItem, reopen_once
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec

if TYPE_CHECKING:
    from ecgopt.jobs.resumption import ResumableEpochs
    from ecgopt.jobs.runs import ArmRuns
    from ecgopt.training.run import EpochResult

T = TypeVar("T")
Stop = Callable[[], bool]
"""Whether the worker was asked to stop."""
Record = TrialEvidence | FinalEvidence | PretrainEvidence | SanityCheck


class StopRequested(Exception):
    """The worker was asked to stop: the item's state is saved, and the item may be released."""


class PausedAtRung(StopRequested):
    """The item waits at a rung for others: its state is saved, and the worker does other work."""

    def __init__(self, rung: int) -> None:
        """Pause at this rung."""
        super().__init__(f"paused at rung {rung}")
        self.rung = rung


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEnd:
    """Why an item ended, and its result as plain JSON."""

    cause: Cause
    result: Mapping[str, Any]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPayload:
    """The part of a payload that all kinds of work on one study share."""

    study: StudyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """How a training run ended and what it cost, by all its owners together."""

    cause: Cause
    detail: str = ""
    seconds: float = 0.0
    n_epochs: int = 0
    n_samples: int = 0
    device: str = ""
    worker: str = ""
    software: str = ""
    """Versions that decide its numbers."""


class Job(ABC):
    """One kind of work. A subclass is listed in `registry`; its file holds all that it is.

    Modules of jobs import torch and Optuna only where a worker runs: reading commands import them
    for titles, items and records.
    """

    kind: ClassVar[str]
    """As the database names it, at most 16 characters."""
    title: ClassVar[str]
    """As `ecgopt status` names it, in the plural."""
    priority: ClassVar[int]
    """Of the first item; workers take the lowest number whose needs are met."""

    def __init__(self, database: Database, arms: "ArmRuns") -> None:
        """Do this kind of work on the comparison of `arms`."""
        self.database = database
        self.arms = arms

    @classmethod
    @abstractmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterable[NewItem]:
        """Return the work items of this kind that the study file asks for, each key once."""

    @abstractmethod
    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Do the item under its lease.

        Raises:
            LeaseLost: the item belongs to another worker now.
            StopRequested: `stop()` turned true; the state has been saved.
        """

    def give_up(self, lease: Lease, cause: Cause, reason: str) -> None:  # noqa: ARG002
        """Close what the item left open elsewhere, before it is set aside: here, its checkpoints.

        Raises:
            LeaseLost: the item belongs to another worker now.
        """
        self.arms.discard_checkpoints(lease.claim.key)

    def reopen_missing(self, claim: Claim) -> bool:
        """Free the pre-training whose checkpoint the item needs, if that file is gone.

        Its checkpoint must come out with the SHA-256 that it had. It is made again once: where it
        is lost a second time, a person must look.

        Returns:
            Whether the checkpoint will be made.
        """
        if "study" not in claim.payload:
            return False
        name = read(StudyPayload, claim.payload).study.pretraining
        if not name or self.arms.workspace.pretrained(self.arms.folder, name).exists():
            return False
        return reopen_once(self.database, claim.comparison, f"pretrain/{name}")

    @classmethod
    def record(cls, item: EndedItem) -> Record | None:  # noqa: ARG003
        """Return what an ended item says, as evidence; None where it says nothing."""
        return None

    @classmethod
    def item(
        cls,
        name: str,
        payload: object,
        *,
        group: str,
        needs: str | None = None,
        rank: int = 0,
        after: int | None = None,
    ) -> NewItem:
        """Return one work item of this kind.

        Args:
            name: Of the item within its kind.
            payload: A dataclass, which `read` restores from the claim.
            group: What other items may wait for.
            needs: The group that must be finished first.
            rank: Added to the priority.
            after: The items of the group up to this rank must have ended first; None is none.
        """
        return NewItem(
            kind=cls.kind,
            key=f"{cls.kind}/{name}",
            group=group,
            needs=needs,
            priority=cls.priority + rank,
            after=None if after is None else cls.priority + after,
            payload=to_json(payload),
        )


_adapters: Final[dict[type, TypeAdapter[Any]]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_json(value: object) -> dict[str, Any]:
    """Return a payload or a result, which is a dataclass, as plain JSON."""
    found: dict[str, Any] = _adapter(type(value)).dump_python(value)
    return found


def read(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Return the payload or result that was stored with `to_json`; unknown keys are left out."""
    found: T = _adapter(kind).validate_python(dict(stored))
    return found


def guarded(epochs: "ResumableEpochs", lease: Lease, stop: Stop) -> Iterator["EpochResult"]:
    """Yield the epochs while the lease holds and no stop is requested.

    Raises:
        LeaseLost: the item may belong to another worker by now.
        StopRequested: after saving the state.
    """
    for result in epochs:
        lease.progress = epochs.epochs_done
        lease.check()
        yield result
        if stop():
            epochs.save()
            raise StopRequested


def train_to_end(epochs: "ResumableEpochs", lease: Lease, stop: Stop) -> str:
    """Train without pruning; return why training diverged, or an empty text at its end.

    Raises:
        LeaseLost: another worker owns the item now.
        StopRequested: after saving the state.
    """
    divergence = ""
    try:
        for _ in guarded(epochs, lease, stop):
            pass
    except TrialDiverged as error:
        divergence = str(error)
    lease.assert_held()
    return divergence


def account_of(
    epochs: "ResumableEpochs", arms: "ArmRuns", lease: Lease, *, divergence: str = ""
) -> RunAccount:
    """Return what a run that nothing pruned cost, and whether it diverged."""
    from ecgopt.jobs.runs import device_facts

    return RunAccount(
        cause=Cause.DIVERGED if divergence else Cause.DONE,
        detail=divergence,
        seconds=epochs.seconds,
        n_epochs=epochs.epochs_done,
        n_samples=epochs.n_samples,
        device=device_facts(arms.device),
        worker=lease.claim.owner,
        software=software(),
    )
