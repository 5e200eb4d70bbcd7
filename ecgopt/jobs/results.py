"""Reads what jobs left in the database: trials, diagnostic runs and sanity checks."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial
from sqlalchemy import select

from ecgopt.database.engine import Database
from ecgopt.database.optuna.trial_rows import RECIPE, RUN
from ecgopt.database.tables import work_item
from ecgopt.evidence.records import SanityCheck, TrialEvidence, TrialRecipe
from ecgopt.study_file.cells import StudyKey, study_key, study_name
from ecgopt.study_file.spec import StudySpec

Row = sqlalchemy.Row[Any]

_RECIPES: Mapping[str, TrialRecipe] = {"rate": "extra", "audit": "audit", "enqueued": "enqueued"}


_STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


def trials_of(database: Database, spec: StudySpec, key: StudyKey) -> tuple[TrialEvidence, ...]:
    """Return the trials of one study, by number."""
    study = optuna.load_study(study_name=study_name(spec.name, key), storage=database.optuna)
    return tuple(_tuned_trial(frozen) for frozen in study.get_trials(deepcopy=False))


def all_trials_of(database: Database, spec: StudySpec, key: StudyKey) -> tuple[TrialEvidence, ...]:
    """Return the trials of one study, and after them its runs beside the budget."""
    return (
        *trials_of(database, spec, key),
        *trials_beside(database, spec, key).get(key.path, ()),
    )


def _tuned_trial(frozen: FrozenTrial) -> TrialEvidence:
    run: Mapping[str, Any] = frozen.user_attrs.get(RUN, {})
    return TrialEvidence(
        number=frozen.number,
        state=_STATES[frozen.state.name],  # type: ignore[arg-type]  # the five names above
        cause=run.get("cause", ""),
        value=frozen.value,
        parameters=dict(frozen.params),
        reports={int(step): float(value) for step, value in frozen.intermediate_values.items()},
        n_epochs=run.get("n_epochs", 0),
        seconds=run.get("seconds", 0.0),
        n_samples=run.get("n_samples", 0),
        recipe=frozen.user_attrs.get(RECIPE, "tuned"),
        details={
            name: run[name] for name in ("detail", "precision", "device", "worker") if name in run
        },
    )


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
