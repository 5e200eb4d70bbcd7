"""How far a comparison is as its dashboard pages must show it, and whether they do.

Cheap to read: a worker asks before it loads anything that draws.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from optuna.storages._rdb import models as optuna_tables
from pydantic import ValidationError
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ecgopt.comparison.extensions import extended, extensions_of
from ecgopt.comparison.opening import stored_comparison
from ecgopt.database.engine import Database
from ecgopt.database.tables import page_refresh, work_item
from ecgopt.errors import UserError
from ecgopt.study_file.cells import StudyKey, expand_studies, study_name
from ecgopt.study_file.spec import StudySpec

logger = logging.getLogger(__name__)

SECONDS_BETWEEN: Final = 60.0
"""Between two refreshes while workers are at work."""

_STUDIES = optuna_tables.StudyModel.__table__
_TRIALS = optuna_tables.TrialModel.__table__
_SYSTEM = optuna_tables.StudySystemAttributeModel.__table__

_LAYOUT: Final = 2
"""Raise it when pages must be written anew although no trial has changed."""
STAMP: Final = "ecgopt:page"
"""System attribute of a study: the stamp that its page was written with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One comparison at one moment, as far as its pages show it."""

    spec: StudySpec
    keys: Mapping[int, StudyKey]
    """The Optuna studies by their id."""
    stamps: Mapping[int, str]
    """A hash of each study's counts, which changes when its page must."""
    shown: Mapping[int, str]
    """The stamps that the pages were written with."""

    @property
    def stale(self) -> list[int]:
        """The studies whose pages no longer show what there is."""
        return [i for i in self.keys if self.shown.get(i) != self.stamps[i]]

    def rivals(self, study_id: int) -> dict[int, StudyKey]:
        """Return the other arms of the study's cell and replicate, by their ids."""
        own = self.keys[study_id]
        return {i: key for i, key in self.keys.items() if _are_rivals(own, key)}


def read_scene(database: Database, name: str) -> Scene | None:
    """Return the comparison as it is now; None where it does not exist or cannot be read."""
    stored = stored_comparison(database, name)
    if stored is None:
        return None
    try:
        spec = StudySpec.of_content(stored["content"])
    except ValidationError:
        logger.warning("%s was begun by another version of ecgopt: its pages stay", name)
        return None
    except UserError as error:
        logger.warning("%s cannot be read here, so its pages stay: %s", name, error)
        return None
    spec = extended(spec, extensions_of(database, name))
    by_name = {study_name(name, key): key for key in expand_studies(spec)}
    with database.transaction() as connection:
        named = _STUDIES.c.study_name.startswith(f"{name}/", autoescape=True)
        found = connection.execute(
            select(_STUDIES.c.study_id, _STUDIES.c.study_name).where(named)
        ).all()
        keys = {row.study_id: by_name[row.study_name] for row in found if row.study_name in by_name}
        counts = connection.execute(
            select(_TRIALS.c.study_id, _TRIALS.c.state, func.count().label("n"))
            .join(_STUDIES, _STUDIES.c.study_id == _TRIALS.c.study_id)
            .where(named)
            .group_by(_TRIALS.c.study_id, _TRIALS.c.state)
        ).all()
        finals = connection.execute(
            select(work_item.c.item_group, func.count(), func.max(work_item.c.finished_at))
            .where(
                work_item.c.comparison == name,
                work_item.c.kind == "final",
                work_item.c.state == "done",
            )
            .group_by(work_item.c.item_group)
        ).all()
        shown = connection.execute(
            select(_SYSTEM.c.study_id, _SYSTEM.c.value_json).where(_SYSTEM.c.key == STAMP)
        ).all()
    facts: dict[int, list[str]] = {study_id: [] for study_id in keys}
    for row in counts:
        if row.study_id in facts:
            facts[row.study_id].append(f"{row.state.name}={row.n}")
    groups = {group: f"{n}@{latest}" for group, n, latest in finals}
    return Scene(
        spec=spec,
        keys=keys,
        stamps=_stamps(spec, keys, facts, groups),
        shown={row.study_id: row.value_json.strip('"') for row in shown},
    )


def take_turn(database: Database, name: str) -> bool:
    """Tell whether it is the caller's turn to refresh, which comes to one caller a minute."""
    due = database.now + SECONDS_BETWEEN
    try:
        with database.transaction() as connection:
            taken = connection.execute(
                update(page_refresh)
                .where(
                    page_refresh.c.comparison == name,
                    page_refresh.c.due_at <= database.now,
                )
                .values(due_at=due)
            )
            known = select(page_refresh.c.comparison).where(page_refresh.c.comparison == name)
            if taken.rowcount == 0 and connection.execute(known).first() is None:
                connection.execute(insert(page_refresh).values(comparison=name, due_at=due))
                return True
    except IntegrityError:
        return False  # another worker has just taken the first turn
    return taken.rowcount == 1


def _stamps(
    spec: StudySpec,
    keys: Mapping[int, StudyKey],
    facts: Mapping[int, list[str]],
    finals: Mapping[str, str],
) -> dict[int, str]:
    own = {
        study_id: f"{','.join(sorted(facts[study_id]))};{finals.get(f'final/{key.path}', '')}"
        for study_id, key in keys.items()
    }
    stamps = {}
    for study_id, key in keys.items():
        # A page shows its rivals' curves too.
        others = [own[i] for i, other in keys.items() if _are_rivals(key, other)]
        text = repr((_LAYOUT, spec.budget.trials, others))
        stamps[study_id] = f"{own[study_id]};{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return stamps


def _are_rivals(one: StudyKey, other: StudyKey) -> bool:
    """Tell whether both are arms of one cell: they differ in regime, and in upstream at most."""
    return (
        one.regime != other.regime
        and (one.downstream, one.model, one.n_train, one.replicate)
        == (other.downstream, other.model, other.n_train, other.replicate)
        and (one.upstream is None or other.upstream is None or one.upstream == other.upstream)
    )
