"""Optuna's storage with a cache made for studies whose trials exist from the start.

Optuna's own cache reads every waiting trial again at each look. Neither sampler nor pruner wants
those, and of a study's trials most are waiting; so they are left unread here unless asked for.
"""

from collections.abc import Container

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import FrozenTrial, TrialState

_trials = optuna_tables.TrialModel.__table__
_ABOVE_ALL_IDS = 2**31 - 1
"""The largest value of the column on every back end; PostgreSQL refuses to compare with more."""
LOOKS_ONLY = "ecgopt_looks_only"
"""Execution option of a connection whose next transaction takes no write lock under SQLite."""

BEGUN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
"""Every state but WAITING."""


class SlotStorage(_CachedStorage):
    """A cache that fetches each finished trial once, and waiting ones only on request."""

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._finished: dict[int, dict[int, FrozenTrial]] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the study's trials in these states, by number; all of them for None."""
        if deepcopy or states is None or TrialState.WAITING in states:
            return super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        found = self._begun_trials(study_id, states)
        return sorted(found, key=lambda trial: trial.number)

    def _begun_trials(self, study_id: int, states: Container[TrialState]) -> list[FrozenTrial]:
        wanted = [state for state in BEGUN if state in states]
        query = sqlalchemy.select(_trials.c.trial_id).where(
            _trials.c.study_id == study_id, _trials.c.state.in_(wanted)
        )
        looking = self._backend.engine.execution_options(**{LOOKS_ONLY: True})
        with looking.begin() as connection:
            ids = connection.execute(query).scalars().all()
        with self._lock:
            finished = self._finished.setdefault(study_id, {})
            missing = {trial_id for trial_id in ids if trial_id not in finished}
        fetched = {}
        if missing:
            for trial in self._backend._get_trials(study_id, None, missing, _ABOVE_ALL_IDS):
                fetched[trial._trial_id] = trial
        with self._lock:
            finished.update({k: trial for k, trial in fetched.items() if trial.state.is_finished()})
            known = {**finished, **fetched}
            return [known[trial_id] for trial_id in ids if known[trial_id].state in states]
