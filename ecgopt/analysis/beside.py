"""Evidence from what was run beside the budget: audits, learning rates and sanity checks."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import select

from ecgopt.analysis.evidence import SanityCheck, TrialEvidence, TrialRecipe
from ecgopt.tuning.cells import StudyKey
from ecgopt.tuning.spec import StudySpec
from ecgopt.tuning.storage import Database
from ecgopt.tuning.tables import work_item
from ecgopt.workers.jobs import study_key

Row = sqlalchemy.Row[Any]

_RECIPES: Mapping[str, TrialRecipe] = {"rate": "extra", "audit": "audit", "enqueued": "enqueued"}


def trials_beside(
    database: Database, spec: StudySpec, key: StudyKey | None = None
) -> dict[str, tuple[TrialEvidence, ...]]:
    """Return the runs beside the budget by study, of one study or of all.

    Optuna knows nothing of them: their work items hold their results.
    """
    found: dict[str, tuple[TrialEvidence, ...]] = {}
    for row in _ended(database, spec, ("rate", "audit", "enqueued")):
        study = study_key(json.loads(row.payload))
        result = json.loads(row.result)
        if key is None or key == study:
            found[study.path] = (*found.get(study.path, ()), *_trial(row, result))
    return found


def checks_beside(database: Database, spec: StudySpec) -> tuple[SanityCheck, ...]:
    """Return the sanity checks that were run."""
    return tuple(
        SanityCheck(
            name=result["name"],
            study=study_key(json.loads(row.payload)).path,
            values=tuple(result["values"]),
            details=result["details"],
            n_epochs=result["n_epochs"],
            seconds=result["seconds"],
            n_samples=result["n_samples"],
        )
        for row in _ended(database, spec, ("check",))
        for result in [json.loads(row.result)]
        if result.get("values")
    )


def _trial(row: Row, result: dict[str, Any]) -> tuple[TrialEvidence, ...]:
    if row.kind == "audit" and result["audit_of"] is None:
        return ()  # fewer trials were pruned than were to be audited
    is_audit = row.kind == "audit"
    return (
        TrialEvidence(
            number=result["audit_of"] if is_audit else result["number"],
            state="complete" if result["cause"] == "done" else "pruned",
            cause=result["cause"],
            value=result["value"],
            parameters=result["parameters"],
            reports={int(step): float(value) for step, value in result["reports"].items()},
            n_epochs=result["n_epochs"],
            seconds=result["seconds"],
            n_samples=result["n_samples"],
            recipe=_RECIPES[row.kind],
            details={
                name: result[name] for name in ("device", "audit_of", "label") if name in result
            },
        ),
    )


def _ended(database: Database, spec: StudySpec, kinds: Sequence[str]) -> list[Row]:
    query = (
        select(work_item)
        .where(
            work_item.c.comparison == spec.name,
            work_item.c.kind.in_(kinds),
            work_item.c.state == "done",
        )
        .order_by(work_item.c.id)
    )
    with database.transaction() as connection:
        return [row for row in connection.execute(query).all() if json.loads(row.result or "{}")]
