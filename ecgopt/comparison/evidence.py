"""Evidence from the database: what the trials and work items of a comparison left behind."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ecgopt.causes import Cause
from ecgopt.data.overlap import label_overlap
from ecgopt.data.sources.catalog import dataset_info, source_names
from ecgopt.database.comparisons import (
    Extension,
    StoredComparison,
    check_unchanged,
    extended,
    extensions_of,
    stored_comparison,
)
from ecgopt.database.engine import Database, open_existing
from ecgopt.database.tables import check_tables, has_tables
from ecgopt.errors import UserError
from ecgopt.evidence.records import (
    DATA_SETS,
    ArmStart,
    Budget,
    CellKey,
    Comparison,
    Evidence,
    FinalEvidence,
    Opening,
    PretrainEvidence,
    SanityCheck,
    StudyEvidence,
    TrialEvidence,
)
from ecgopt.jobs.datasets import PreparedData
from ecgopt.jobs.final import FinalJob, FinalPayload
from ecgopt.jobs.job import StudyPayload, read
from ecgopt.jobs.leased_trial import n_trials_of_others, trials_of
from ecgopt.jobs.pretrain_trial import PretrainTrialJob
from ecgopt.jobs.registry import JOBS
from ecgopt.jobs.trial import TrialJob, slot_name, trial_group
from ecgopt.queue.inspect import paused_items
from ecgopt.queue.openings import read_openings
from ecgopt.queue.results import EndedItem, ended_items, failures_by_group, retries_of
from ecgopt.study_file.cells import (
    ALL_RECORDS,
    StudyKey,
    expand_cells,
    expand_studies,
    replicates_of,
    upstreams_of,
)
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

_MAY_DIVERGE = (TrialJob.kind, PretrainTrialJob.kind)
"""Kinds of searches, to which a training that diverges is an answer."""

_Place = TypeVar("_Place", CellKey, StudyEvidence, FinalEvidence)


def load_evidence(spec: StudySpec, workspace: Workspace, url: str) -> Evidence:
    """Return everything measured so far for the comparison.

    Raises:
        UserError: the comparison has not begun in this database.
        StudyMismatch: the study file says something else than the comparison began with.
        StorageError: the database cannot be opened.
    """
    database = open_existing(url, reads_only=True)
    try:
        return _evidence_in(database, spec, workspace)
    finally:
        database.engine.dispose()


def _evidence_in(database: Database, spec: StudySpec, workspace: Workspace) -> Evidence:
    stored = None
    if has_tables(database):
        check_tables(database)
        stored = stored_comparison(database, spec.name)
    if stored is None:
        raise UserError(
            f"study {spec.name!r} has not begun in {database.describe()}: run `ecgopt run` first"
        )
    extensions = extensions_of(database, spec.name)
    check_unchanged(spec, extensions, stored)
    spec = extended(spec, extensions)
    data = PreparedData(spec=spec, workspace=workspace, folders=stored.prepared)
    ended = ended_items(database, spec.name)
    records = _records(ended)
    failures = failures_by_group(database, spec.name, TrialJob.kind)
    evidence = Evidence(
        comparison=_comparison(
            spec,
            stored,
            {
                **_data_facts(data),
                **_retries(database, spec.name),
                **_trials_of_others(database, spec),
                DATA_SETS: {name: _described(data, name) for name in spec.data_names()},
            },
            extensions,
        ),
        studies=tuple(
            StudyEvidence(
                study=key.path,
                **key.coordinates(),
                trials=(*trials_of(database, spec, key), *records.beside.get(key.path, ())),
                split=data.downstream(key)[1],
                workers_lost=failures.get(trial_group(key), 0),
            )
            for key in expand_studies(spec)
        ),
        finals=tuple(records.finals),
        pretrainings=tuple(records.pretrainings),
        openings=_openings(database, spec),
        set_aside=tuple(
            {"item": item.key, "cause": item.cause.value, "detail": item.detail}
            for item in ended
            if item.is_set_aside or (item.kind not in _MAY_DIVERGE and item.cause is not Cause.DONE)
        ),
        checks=tuple(records.checks),
    )
    return _with_counted_records(evidence, data)


@dataclass(frozen=True, slots=True)
class _Records:
    """What ended work items say, sorted."""

    finals: list[FinalEvidence] = field(default_factory=list)
    pretrainings: list[PretrainEvidence] = field(default_factory=list)
    checks: list[SanityCheck] = field(default_factory=list)
    beside: dict[str, list[TrialEvidence]] = field(default_factory=dict)
    """Trials beside the budget, by study."""


def _records(ended: Sequence[EndedItem]) -> _Records:
    found = _Records()
    for item in ended:
        match JOBS[item.kind].record(item):
            case FinalEvidence() as final:
                found.finals.append(final)
            case PretrainEvidence() as pretraining:
                found.pretrainings.append(pretraining)
            case SanityCheck() as check:
                found.checks.append(check)
            case TrialEvidence() as trial:
                study = read(StudyPayload, item.payload).study.path
                found.beside.setdefault(study, []).append(trial)
            case None:
                pass
    return found


def _with_counted_records(evidence: Evidence, data: PreparedData) -> Evidence:
    """Return the evidence with the number of records where the study file says "all"."""

    def counted(place: _Place) -> _Place:
        if place.n_train != ALL_RECORDS:
            return place
        return replace(place, n_train=len(data.pool(place.downstream)))

    comparison = evidence.comparison
    return replace(
        evidence,
        comparison=replace(comparison, cells=tuple(map(counted, comparison.cells))),
        studies=tuple(map(counted, evidence.studies)),
        finals=tuple(map(counted, evidence.finals)),
    )


def load_studies(
    database: Database, spec: StudySpec, regimes: Collection[str]
) -> tuple[StudyEvidence, ...]:
    """Return the studies of these regimes with their trials alone, which needs none of the data."""
    beside = _records(ended_items(database, spec.name)).beside
    with database.transaction() as connection:
        paused = {item.item for item in paused_items(connection, spec.name)}

    def seen(key: StudyKey, trial: TrialEvidence) -> TrialEvidence:
        is_paused = (
            trial.state == "running" and f"{TrialJob.kind}/{slot_name(key, trial.number)}" in paused
        )
        return replace(trial, state="paused") if is_paused else trial

    return tuple(
        StudyEvidence(
            study=key.path,
            **key.coordinates(),
            trials=(
                *(seen(key, trial) for trial in trials_of(database, spec, key)),
                *beside.get(key.path, ()),
            ),
        )
        for key in expand_studies(spec)
        if key.regime in regimes
    )


def finals_of(database: Database, spec: StudySpec) -> tuple[FinalEvidence, ...]:
    """Return the final fits that are done."""
    return tuple(_records(ended_items(database, spec.name, kinds=[FinalJob.kind])).finals)


def _openings(database: Database, spec: StudySpec) -> tuple[Opening, ...]:
    return tuple(
        Opening(
            study=final.study.path,
            role=final.role,
            seed_index=final.seed_index,
            opened_at=_iso(seen.opened_at),
            worker=seen.worker,
            reused=seen.is_reuse,
            is_interrupted=seen.is_interrupted,
            winner=seen.winner,
        )
        for seen in read_openings(database, spec.name)
        for final in [read(FinalPayload, seen.payload)]
    )


def _data_facts(data: PreparedData) -> dict[str, str]:
    """Return what a reader must know of each data set: missing patients, shared labels."""
    facts = {}
    for name in data.spec.data_names():
        manifest = data.prepared(name).manifest
        unknown = manifest["records_without_published_patient"]
        facts[f"patients of {name}"] = (
            f"{unknown:,} records without a published patient; each counts as a patient of its own"
            if unknown
            else "published for every record"
        )
    for cell in expand_cells(data.spec):
        for upstream in upstreams_of(data.spec, cell):
            if (part := data.spec.upstream_data(upstream)) is not None:
                facts[f"labels {upstream} shares with {cell.downstream}"] = _shared_labels(
                    data, part, cell.downstream
                )
    return facts


def _described(data: PreparedData, name: str) -> dict[str, Any]:
    """Return what the records of one data set are: how many, of whom, with which labels."""
    prepared, rows = data.prepared(name), data.rows(name)
    records, labels = prepared.records.iloc[rows], data.labels(name)
    carried = prepared.labels(labels)[rows].sum(axis=0).tolist()
    ages = records["age_years"].dropna()
    info = dataset_info(prepared.source) if prepared.source in source_names() else None
    return {
        "title": info.title if info else prepared.source,
        "licence": info.licence if info else "",
        "citation": info.citation if info else "",
        "records": len(records),
        "patients": int(records["patient"].nunique()),
        "median_age_years": float(ages.median()) if len(ages) else None,
        "share_female": _share(records["sex"], "female"),
        "carriers": dict(zip(labels.classes, carried, strict=True)),
        "dropped": dict(prepared.manifest["dropped_reasons"]),
    }


def _share(values: "pd.Series[Any]", value: str) -> float | None:
    known = values.dropna()
    return float((known == value).mean()) if len(known) else None


def _retries(database: Database, comparison: str) -> dict[str, str]:
    """Return what a reader must know of items that were set aside and tried again."""
    retried = retries_of(database, comparison)
    texts = ", ".join(f"{key} ({cause})" for key, cause in retried.items())
    return {"items tried again by hand": texts} if texts else {}


def _trials_of_others(database: Database, spec: StudySpec) -> dict[str, str]:
    """Return what a reader must know of trials that others added with plain Optuna."""
    counts = {key.path: n_trials_of_others(database, spec, key) for key in expand_studies(spec)}
    texts = ", ".join(f"{path}: {n}" for path, n in counts.items() if n)
    return {"trials that others added, outside the budget": texts} if texts else {}


def _shared_labels(data: PreparedData, upstream: str, downstream: str) -> str:
    overlap = label_overlap(data.labels(upstream), data.labels(downstream))
    parts = {
        "same": [target for _, target in overlap.same],
        "related": [target for _, target in overlap.related],
        "only downstream": list(overlap.only_downstream),
    }
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in parts.items() if names)


def _comparison(
    spec: StudySpec,
    stored: StoredComparison,
    facts: Mapping[str, Any],
    extensions: Sequence[Extension],
) -> Comparison:
    spaces = {
        group: {name: section.model_dump() for name, section in ranges.items()}
        for group, ranges in spec.space.items()
    }
    return Comparison(
        name=spec.name,
        question=spec.question,
        margin=spec.verdict.margin,
        confidence=spec.verdict.confidence,
        metric=spec.verdict.metric,
        metrics=spec.metrics,
        pretraining_runs={name: spec.pretraining_runs(name) for name in spec.upstreams},
        least_positives=spec.verdict.least_positives,
        looks=tuple(each.before.replicates for each in extensions if each.openings),
        most_replicates=spec.verdict.most,
        replicates=tuple(replicates_of(spec, cell) for cell in expand_cells(spec))
        if spec.stopped
        else (),
        regimes=spec.regimes,
        pairs=spec.verdict.pairs,
        arms={name: ArmStart(**table.model_dump()) for name, table in spec.arms.items()},
        budget=Budget(
            trials=spec.budget.trials,
            final_seeds=spec.budget.final_seeds,
            replicates=spec.budget.replicates,
        ),
        cells=tuple(
            CellKey(
                upstream=cell.upstream,
                downstream=cell.downstream,
                model=cell.network,
                n_train=cell.n_train,
            )
            for cell in expand_cells(spec)
        ),
        extensions=tuple(map(str, extensions)),
        spec=stored.content,
        space={**spaces, "fingerprint": spec.space_fingerprint()},
        provenance={**stored.provenance, **facts, "prepared": stored.prepared},
    )


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return moment.isoformat(timespec="seconds")
