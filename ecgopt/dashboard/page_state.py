"""The state of a comparison that its dashboard pages must show, and whether they show it.

Cheap to read: a worker asks before it loads anything that draws.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ecgopt.database.comparisons import extended, extensions_of, stored_comparison
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import study_ids, system_attributes, trial_counts
from ecgopt.errors import StudyFileError
from ecgopt.queue.inspect import finals_done
from ecgopt.study_file.cells import StudyKey, are_rivals, expand_studies, study_name
from ecgopt.study_file.spec import StudySpec

logger = logging.getLogger(__name__)

SECONDS_BETWEEN: Final = 60.0
"""Between two refreshes while workers are at work."""

_LAYOUT: Final = 3
"""Increase it when pages must be rewritten although no trial has changed."""
STAMP: Final = "ecgopt:page"
"""System attribute of a study: the stamp that its page was written with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageState:
    """The parts of a comparison's state that its pages show."""

    spec: StudySpec
    keys: Mapping[int, StudyKey]
    """The Optuna studies by their id."""
    stamps: Mapping[int, str]
    """A hash of each study's counts, which changes when its page must."""
    shown: Mapping[int, str]
    """The stamps that the pages were written with."""

    @property
    def stale(self) -> list[int]:
        """The studies whose pages are out of date."""
        return [i for i in self.keys if self.shown.get(i) != self.stamps[i]]

    def rivals(self, study_id: int) -> dict[int, StudyKey]:
        """Return the other arms of the study's cell and replicate, by their ids."""
        own = self.keys[study_id]
        return {i: key for i, key in self.keys.items() if are_rivals(self.spec, own, key)}


def read_page_state(database: Database, name: str) -> PageState | None:
    """Return the comparison as it is now; None where it does not exist or cannot be read."""
    stored = stored_comparison(database, name)
    if stored is None:
        return None
    try:
        spec = StudySpec.of_content(stored.content)
    except StudyFileError as error:
        logger.warning("%s cannot be read here, so its pages are not updated: %s", name, error)
        return None
    spec = extended(spec, extensions_of(database, name))
    by_name = {study_name(name, key): key for key in expand_studies(spec)}
    with database.transaction() as connection:
        found = study_ids(connection, name)
        keys = {
            study_id: by_name[found[study_id]] for study_id in found if found[study_id] in by_name
        }
        counts = trial_counts(connection, name)
        groups = finals_done(connection, name)
        shown = system_attributes(connection, STAMP)
    facts = {
        study_id: [f"{state}={n}" for state, n in counts.get(study_id, {}).items()]
        for study_id in keys
    }
    return PageState(
        spec=spec,
        keys=keys,
        stamps=_stamps(spec, keys, facts, groups),
        shown=shown,
    )


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
        others = [own[i] for i, other in keys.items() if are_rivals(spec, key, other)]
        text = repr((_LAYOUT, spec.budget.trials, others))
        stamps[study_id] = f"{own[study_id]};{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return stamps
