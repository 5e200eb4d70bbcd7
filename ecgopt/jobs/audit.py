"""Audits: pruned trials trained to their end, to count prunings that were wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ecgopt.causes import Cause
from ecgopt.evidence.audit_choice import choose_for_audit
from ecgopt.jobs.beside import BesideJob, BesideResult
from ecgopt.jobs.configuration import configuration_of
from ecgopt.jobs.job import ItemEnd, Stop, StudyPayload, read
from ecgopt.jobs.trial import trial_group, trial_seed
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPayload(StudyPayload):
    """Which of a study's pruned trials, counted from the best."""

    rank: int


class AuditJob(BesideJob):
    """Trains one of a study's best pruned trials to its end."""

    kind = "audit"
    title = "audits"
    priority = 3_100_000
    recipe = "audit"

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield the audits of each study; how many trials are pruned is not known yet."""
        for key in keys:
            for rank in range(spec.diagnostics.audit):
                yield cls.item(
                    f"{key.path}/{rank:02d}",
                    AuditPayload(study=key, rank=rank),
                    group=f"audit/{key.path}",
                    needs=trial_group(key),
                    rank=rank,
                )

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Repeat the trial from its seed, this time to the end of its schedule."""
        from ecgopt.jobs.leased_trial import trials_of

        spec, payload = self.arms.spec, read(AuditPayload, lease.claim.payload)
        key, rank = payload.study, payload.rank
        candidates = choose_for_audit(trials_of(self.database, spec, key), rank + 1)
        if len(candidates) <= rank:
            detail = f"only {len(candidates)} trials were pruned"
            return ItemEnd(cause=Cause.DONE, result={}, detail=detail)
        pruned = candidates[rank]
        chosen = configuration_of(spec, key, pruned)
        whole = self.train(lease, stop, chosen, seed=trial_seed(spec, key, pruned.number))
        return self.end(whole, chosen, number=pruned.number)

    @classmethod
    def details(cls, result: BesideResult) -> Mapping[str, str | int]:
        """Return the device, and the trial that was audited."""
        return {"device": result.device, "audit_of": result.number}
