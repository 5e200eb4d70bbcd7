"""Begun trials as Optuna sees them, read in one statement per table.

Every worker reads each finished trial of its study once, so what a trial costs grows with the
study's history and the number of workers. Optuna maps each row to an object of its own first,
which takes three times as long.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models as optuna_tables
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Row, Select, Table, bindparam

_trials = optuna_tables.TrialModel.__table__
_number_of = optuna_tables.TrialValueModel.stored_repr_to_value
_report_of = optuna_tables.TrialIntermediateValueModel.stored_repr_to_intermediate_value
# A study has one distribution per parameter; parsing its text takes longer than reading the row.
_distribution = lru_cache(maxsize=1024)(json_to_distribution)

_PARTS: Final[Mapping[str, Table]] = {
    "values": optuna_tables.TrialValueModel.__table__,
    "parameters": optuna_tables.TrialParamModel.__table__,
    "reports": optuna_tables.TrialIntermediateValueModel.__table__,
    "user": optuna_tables.TrialUserAttributeModel.__table__,
    "system": optuna_tables.TrialSystemAttributeModel.__table__,
}


def _of_ids(table: Table) -> Select[Any]:
    """Return the query for the rows of some trials, in the order they were written in."""
    wanted = table.c.trial_id.in_(bindparam("ids", expanding=True))
    return sqlalchemy.select(table).where(wanted).order_by(table.c[0])


# Made once: a pruning question would spend more time on making its queries than on the answers.
_TRIALS_OF_IDS = _of_ids(_trials)
_PARTS_OF_IDS = {name: _of_ids(table) for name, table in _PARTS.items()}
_AT_ONCE = 5_000
"""Ids in one statement; no back end takes more than some ten thousand."""


def read_trials(connection: Connection, trial_ids: Sequence[int]) -> list[FrozenTrial]:
    """Return the trials of these ids, by id."""
    found: list[FrozenTrial] = []
    for first in range(0, len(trial_ids), _AT_ONCE):
        ids = trial_ids[first : first + _AT_ONCE]
        # The states come first: what has ended by then changes no more.
        rows = connection.execute(_TRIALS_OF_IDS, {"ids": ids}).all()
        parts = {name: _by_trial(connection, query, ids) for name, query in _PARTS_OF_IDS.items()}
        found += [
            _trial(row, {name: part[row.trial_id] for name, part in parts.items()}) for row in rows
        ]
    return found


def _by_trial(
    connection: Connection, query: Select[Any], ids: Sequence[int]
) -> Mapping[int, list[Row[Any]]]:
    rows = defaultdict(list)
    for row in connection.execute(query, {"ids": ids}):
        rows[row.trial_id].append(row)
    return rows


def _trial(row: Row[Any], parts: Mapping[str, Sequence[Row[Any]]]) -> FrozenTrial:
    distributions = {p.param_name: _distribution(p.distribution_json) for p in parts["parameters"]}
    values = {v.objective: _number_of(v.value, v.value_type) for v in parts["values"]}
    return FrozenTrial(
        trial_id=row.trial_id,
        number=row.number,
        state=row.state,
        value=None,
        values=[values[k] for k in sorted(values)] or None,
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params={
            p.param_name: distributions[p.param_name].to_external_repr(p.param_value)
            for p in parts["parameters"]
        },
        distributions=distributions,
        user_attrs={a.key: json.loads(a.value_json) for a in parts["user"]},
        system_attrs={a.key: json.loads(a.value_json) for a in parts["system"]},
        intermediate_values={
            r.step: _report_of(r.intermediate_value, r.intermediate_value_type)
            for r in parts["reports"]
        },
    )


def _local(stored: datetime | None) -> datetime | None:
    """Return a stored time, which is UTC without saying so, as Optuna's naive local time."""
    return stored and stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
