"""Evidence from the database: what the trials and work items of a comparison left behind."""

import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import func, select

from ecgopt.comparison.extensions import Extension, extended, extensions_of
from ecgopt.comparison.opening import stored_comparison
from ecgopt.data.overlap import label_overlap
from ecgopt.database.engine import Database, open_database
from ecgopt.database.tables import create_tables, sealed_opening, sealed_result, work_item
from ecgopt.errors import UserError
from ecgopt.evidence.records import (
    Budget,
    CellKey,
    Comparison,
    Evidence,
    FinalEvidence,
    Opening,
    PretrainEvidence,
    StudyEvidence,
)
from ecgopt.jobs.datasets import PreparedData
from ecgopt.jobs.results import checks_beside, trials_beside, trials_of
from ecgopt.study_file.cells import ALL_RECORDS, StudyKey, expand_cells, expand_studies, study_key
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace

_Place = TypeVar("_Place", CellKey, StudyEvidence, FinalEvidence)


def load_evidence(spec: StudySpec, workspace: Workspace, url: str) -> Evidence:
    """Return everything measured so far for the comparison.

    Raises:
        UserError: the comparison has not begun in this database.
        StorageError: the database cannot be opened.
    """
    database = open_database(url)
    try:
        return _evidence_in(database, spec, workspace)
    finally:
        database.engine.dispose()


def _evidence_in(database: Database, spec: StudySpec, workspace: Workspace) -> Evidence:
    create_tables(database)
    stored = stored_comparison(database, spec.name)
    if stored is None:
        raise UserError(
            f"study {spec.name!r} has not begun in {database.describe()}: run `ecgopt run` first"
        )
    extensions = extensions_of(database, spec.name)
    spec = extended(spec, extensions)
    data = PreparedData(spec=spec, workspace=workspace, folders=stored["prepared"])
    ended = _ended_items(database, spec.name)
    beside = trials_beside(database, spec)
    losses = _losses(database, spec.name)
    evidence = Evidence(
        comparison=_comparison(spec, stored, _data_facts(data), extensions),
        studies=tuple(
            StudyEvidence(
                study=key.path,
                **_coordinates(key),
                trials=(*trials_of(database, spec, key), *beside.get(key.path, ())),
                split=data.downstream(key)[1],
                workers_lost=losses.get(key.path, 0),
            )
            for key in expand_studies(spec)
        ),
        finals=tuple(_final(row) for row in ended if row.kind == "final" and _is_done(row)),
        pretrainings=tuple(
            _pretraining(row) for row in ended if row.kind == "pretrain" and _is_done(row)
        ),
        openings=_openings(database, spec),
        set_aside=tuple(
            {"item": row.key, "cause": row.cause, "detail": row.detail or ""}
            for row in ended
            if row.state == "set_aside" or (row.kind != "trial" and not _is_done(row))
        ),
        checks=checks_beside(database, spec),
    )
    return _with_counted_records(evidence, data)


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
    beside = trials_beside(database, spec)
    return tuple(
        StudyEvidence(
            study=key.path,
            **_coordinates(key),
            trials=(*trials_of(database, spec, key), *beside.get(key.path, ())),
        )
        for key in expand_studies(spec)
        if key.regime in regimes
    )


def finals_of(database: Database, spec: StudySpec) -> tuple[FinalEvidence, ...]:
    """Return the final fits that are done."""
    ended = _ended_items(database, spec.name)
    return tuple(_final(row) for row in ended if row.kind == "final" and _is_done(row))


def _coordinates(key: StudyKey) -> dict[str, Any]:
    return {
        "regime": key.regime,
        "upstream": key.upstream,
        "downstream": key.downstream,
        "model": key.model.label,
        "n_train": key.n_train,
        "replicate": key.replicate,
    }


def _final(row: sqlalchemy.Row[Any]) -> FinalEvidence:
    key, result = _key_of(row), json.loads(row.result)
    wanted = (
        "role", "seed_index", "seed", "trial_number", "parameters", "metrics", "per_label",
        "thresholds", "n_epochs", "seconds", "n_samples", "predictions", "predictions_sha256",
        "validation_predictions", "validation_predictions_sha256",
    )  # fmt: skip
    return FinalEvidence(
        study=key.path,
        **_coordinates(key),
        left_out=tuple(result["left_out"]),
        curve=tuple(float(value) for value in result["curve"] if value is not None),
        test_curve=tuple(map(float, result.get("test_curve", ()))),
        **{name: result[name] for name in wanted},
    )


def _pretraining(row: sqlalchemy.Row[Any]) -> PretrainEvidence:
    result = json.loads(row.result)
    wanted = (
        "key", "upstream", "model", "n_epochs", "seconds", "n_samples", "validation_macro_auroc",
        "sha256", "objective", "validation_score", "n_trials", "parameters",
    )  # fmt: skip
    return PretrainEvidence(**{name: result[name] for name in wanted if name in result})


def _openings(database: Database, spec: StudySpec) -> tuple[Opening, ...]:
    query = (
        select(sealed_opening, work_item.c.payload)
        .join(
            work_item,
            (work_item.c.comparison == sealed_opening.c.comparison)
            & (work_item.c.key == sealed_opening.c.item_key),
        )
        .where(sealed_opening.c.comparison == spec.name)
        .order_by(sealed_opening.c.id)
    )
    results = select(sealed_result).where(sealed_result.c.comparison == spec.name)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
        stored = connection.execute(results).all()
    winner_of = {result.opening_id: result.winner for result in stored}
    # An item without any stored result is at work now, or older than the table of results.
    has_result = {result.item_key for result in stored}
    return tuple(
        Opening(
            study=_key_of(row).path,
            role=json.loads(row.payload)["role"],
            seed_index=json.loads(row.payload)["seed_index"],
            opened_at=_iso(row.opened_at),
            worker=row.worker,
            reused=bool(row.reused),
            is_interrupted=not row.reused
            and row.id not in winner_of
            and row.item_key in has_result,
            winner=winner_of.get(row.id, ""),
        )
        for row in rows
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
        part = data.spec.upstream_data(cell.upstream)
        if cell.upstream in data.spec.upstreams and part is not None:
            facts[f"labels {cell.upstream} shares with {cell.downstream}"] = _shared_labels(
                data, part, cell.downstream
            )
    return facts


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
    stored: Mapping[str, Any],
    data_facts: Mapping[str, str],
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
        least_positives=spec.verdict.least_positives,
        looks=tuple(each.before.replicates for each in extensions if each.openings),
        most_replicates=spec.verdict.most,
        regimes=spec.regimes,
        budget=Budget(
            trials=spec.budget.trials,
            final_seeds=spec.budget.final_seeds,
            replicates=spec.budget.replicates,
        ),
        cells=tuple(
            CellKey(
                upstream=cell.upstream,
                downstream=cell.downstream,
                model=cell.model.label,
                n_train=cell.n_train,
            )
            for cell in expand_cells(spec)
        ),
        extensions=tuple(map(str, extensions)),
        spec=stored["content"],
        space={**spaces, "fingerprint": spec.space_fingerprint()},
        provenance={**stored["provenance"], **data_facts, "prepared": stored["prepared"]},
    )


def _ended_items(database: Database, comparison: str) -> list[sqlalchemy.Row[Any]]:
    query = (
        select(work_item)
        .where(work_item.c.comparison == comparison, work_item.c.state.in_(("done", "set_aside")))
        .order_by(work_item.c.id)
    )
    with database.transaction() as connection:
        return list(connection.execute(query).all())


def _losses(database: Database, comparison: str) -> dict[str, int]:
    """Return how many workers each study's trials lost on the way, by study."""
    query = (
        select(work_item.c.item_group, func.sum(work_item.c.total_failures).label("losses"))
        .where(work_item.c.comparison == comparison, work_item.c.kind == "trial")
        .group_by(work_item.c.item_group)
    )
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    return {row.item_group.removeprefix("trials/"): int(row.losses) for row in rows}


def _is_done(row: sqlalchemy.Row[Any]) -> bool:
    return bool(row.cause == "done")


def _key_of(row: sqlalchemy.Row[Any]) -> StudyKey:
    return study_key(json.loads(row.payload))


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return moment.isoformat(timespec="seconds")
