"""Optuna's storage with a cache made for studies whose trials exist from the start.

Optuna's own cache reads every waiting trial again at each look. Neither sampler nor pruner wants
those, and of a study's trials most are waiting; so they are left unread here unless asked for.
"""

from collections.abc import Container
from typing import Any

import optuna
import sqlalchemy
from optuna._typing import JSONSerializable
from optuna.exceptions import StorageInternalError
from optuna.samplers._tpe.sampler import _RELATIVE_PARAMS_KEY
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, bindparam
from sqlalchemy.engine import URL

from ecgopt.database.engine import LOOKS_ONLY, add_listeners
from ecgopt.database.optuna.tables import create_optuna_tables
from ecgopt.database.optuna.trial_history import read_trials
from ecgopt.database.optuna.trial_rows import OURS
from ecgopt.database.retry import raise_named
from ecgopt.database.url import shown
from ecgopt.errors import StorageError

TESTED_MINOR_VERSIONS = ("5.0",)
"""Optuna's minor versions that the tests have run with: what is private may change with each."""

_trials = optuna_tables.TrialModel.__table__
_ID_OF_SLOT = sqlalchemy.select(_trials.c.trial_id).where(
    _trials.c.study_id == bindparam("study"),
    _trials.c.number == bindparam("slot"),
    _trials.c.trial_id.in_(OURS),
)
_same_study = _trials.alias("of_the_same_study")
_HAS_SLOTS = sqlalchemy.exists().where(
    _same_study.c.study_id == bindparam("study"), _same_study.c.trial_id.in_(OURS)
)
_IDS_IN_STATES = sqlalchemy.select(_trials.c.trial_id).where(
    _trials.c.study_id == bindparam("study"),
    _trials.c.state.in_(bindparam("states", expanding=True)),
    # A study that has no slots is no study of a budget: all its trials count.
    sqlalchemy.or_(_trials.c.trial_id.in_(OURS), ~_HAS_SLOTS),
)
BEGUN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
"""Every state but WAITING."""


def check_version() -> None:
    """Check that the tests have run with the installed Optuna.

    Raises:
        StorageError: they have not.
    """
    minor = ".".join(optuna.__version__.split(".")[:2])
    if minor not in TESTED_MINOR_VERSIONS:
        known = " or ".join(f"{tested}.*" for tested in TESTED_MINOR_VERSIONS)
        raise StorageError(
            f"optuna must be {known}, but is {optuna.__version__}: pip install "
            f"'optuna=={TESTED_MINOR_VERSIONS[-1]}.*'"
        )


def open_optuna(url: URL, options: dict[str, Any], *, create: bool = True) -> "SlotStorage":
    """Return Optuna's storage.

    Args:
        url: The database.
        options: Of SQLAlchemy's engine.
        create: Whether to create missing tables, which under SQLite waits for other writers.

    Raises:
        StorageError: the database refuses, or is unavailable.
        RuntimeError: Optuna refuses the database.
    """
    if create:
        engine = sqlalchemy.create_engine(url, **options)
        add_listeners(engine)
        create_optuna_tables(engine)
        # Before Optuna opens its own connection: a worker has two at most.
        engine.dispose()
    try:
        backend = _SafeStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs=options,
            skip_table_creation=True,
        )
    except StorageInternalError as error:
        # Its engine has no listeners yet, so that nothing has named the driver's error.
        driver = getattr(error.__cause__, "orig", None)
        if driver is not None:
            raise_named(driver, url)
        raise RuntimeError(str(error)) from error.__cause__ or error
    return SlotStorage(backend)


class _SafeStorage(RDBStorage):
    """Optuna's storage over connections that keep our rules, with a `repr` without the password."""

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - Optuna's own arguments
        super().__init__(url, **options)
        self._listen()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._listen()

    def __repr__(self) -> str:
        return f"<RDBStorage {shown(self.engine.url)}>"

    def _listen(self) -> None:
        add_listeners(self.engine)
        # RDBStorage connected inside __init__, before the listeners: drop those connections.
        self.engine.dispose()


class SlotStorage(_CachedStorage):
    """A cache that fetches each finished trial once, and waiting ones only on request."""

    @property
    def engine(self) -> Engine:
        """The engine of Optuna's own storage."""
        return self._backend.engine

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

    def set_trial_system_attr(self, trial_id: int, key: str, value: JSONSerializable) -> None:
        """Write the attribute, unless it is TPE's note of what it proposes.

        Others learn of a proposal when its trial begins with it, in a fenced transaction; TPE's own
        note is not fenced.
        """
        if not key.startswith(_RELATIVE_PARAMS_KEY):
            super().set_trial_system_attr(trial_id, key, value)

    def slot(self, study_id: int, number: int) -> FrozenTrial:
        """Return the study's trial of this number as it stands in the database."""
        place = {"study": study_id, "slot": number}
        with self._looking().begin() as connection:
            [trial] = read_trials(connection, [connection.execute(_ID_OF_SLOT, place).scalar_one()])
        return trial

    def _begun_trials(self, study_id: int, states: Container[TrialState]) -> list[FrozenTrial]:
        wanted = [state for state in BEGUN if state in states]
        with self._lock:
            finished = self._finished.setdefault(study_id, {})
        with self._looking().begin() as connection:
            place = {"study": study_id, "states": wanted}
            ids = connection.execute(_IDS_IN_STATES, place).scalars().all()
            missing = [trial_id for trial_id in ids if trial_id not in finished]
            fetched = {trial._trial_id: trial for trial in read_trials(connection, missing)}
        with self._lock:
            finished.update({k: trial for k, trial in fetched.items() if trial.state.is_finished()})
            known = {**finished, **fetched}
            return [known[trial_id] for trial_id in ids if known[trial_id].state in states]

    def _looking(self) -> Engine:
        return self._backend.engine.execution_options(**{LOOKS_ONLY: True})
