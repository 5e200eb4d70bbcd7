"""The requests that `--write` allows: notes, and changes that cannot break an exact budget."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ecgopt.dashboard.access import Denied
from ecgopt.database.comparisons import comparison_names
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import study_name_of
from ecgopt.queue.inspect import keys_held

Kind = Literal["note", "rename", "change", "create"]

_ROUTES: tuple[tuple[str, str, Kind], ...] = (
    ("PUT", r"/api/studies/(?P<study>\d+)/note", "note"),
    ("PUT", r"/api/studies/(?P<study>\d+)/(?P<trial>\d+)/note", "note"),
    ("POST", r"/api/studies/(?P<study>\d+)/rename", "rename"),
    ("DELETE", r"/api/studies/(?P<study>\d+)", "change"),
    ("POST", r"/api/trials/(?P<trial>\d+)/(tell|user-attrs)", "change"),
    ("POST", r"/api/artifacts/(?P<study>\d+)(/\d+)?", "change"),
    ("DELETE", r"/api/artifacts/(?P<study>\d+)(/\d+)?/[0-9a-fA-F-]+", "change"),
    ("POST", r"/api/studies/(?P<study>\d+)/preference(/[^/]+)?", "change"),
    ("DELETE", r"/api/studies/(?P<study>\d+)/preference/[^/]+", "change"),
    ("PUT", r"/api/studies/(?P<study>\d+)/preference_feedback_component", "change"),
    ("POST", r"/api/studies/(?P<study>\d+)/(?P<trial>\d+)/skip", "change"),
    ("POST", r"/api/studies", "create"),
)
"""Every request that writes; what is not listed (schema migration, language models) is refused."""


@dataclass(frozen=True, slots=True)
class _Write:
    kind: Kind
    study: int | None
    trial: int | None


def check_write(
    database: Database, method: str, path: str, body: Callable[[], bytes]
) -> Denied | None:
    """Return why a request that writes is denied, or None if it may pass.

    Args:
        database: That the dashboard shows.
        method: POST, PUT, PATCH or DELETE.
        path: Of the request.
        body: Returns its body; called where the rules need it.
    """
    write = _parse(method, path)
    if write is None:
        return Denied(status=405, reason="the dashboard of ecgopt does not offer this")
    if write.kind == "note":
        return None
    names = set(comparison_names(database))
    if write.kind in ("rename", "create"):
        wanted = _study_name(body()).split("/", 1)[0]
        if wanted in names:
            return Denied(status=409, reason=f"names that begin with {wanted}/ are taken")
    return _check_own(database, names, write)


def _check_own(database: Database, names: set[str], write: _Write) -> Denied | None:
    with database.transaction() as connection:
        name = study_name_of(connection, study_id=write.study, trial_id=write.trial)
        if name is None:
            return None  # optuna-dashboard answers 404 by itself
        comparison, _, path = name.partition("/")
        if comparison not in names:
            return None
        # An item's key is its kind, its study's path and what is special to it.
        keys = keys_held(database, connection, comparison)
    if held := sum(f"/{path}/" in f"/{key}/" for key in keys):
        return Denied(status=409, reason=f"{held} items of this study are leased: stop its workers")
    return Denied(
        status=409,
        reason=(
            f"this study belongs to {comparison}, whose budget is exact and whose workers find it "
            "by its name: use `ecgopt study`"
        ),
    )


def _parse(method: str, path: str) -> _Write | None:
    for known, pattern, kind in _ROUTES:
        if method == known and (found := re.fullmatch(pattern, path.rstrip("/"))):
            groups: Mapping[str, str | None] = found.groupdict()
            study, trial = groups.get("study"), groups.get("trial")
            return _Write(kind, int(study) if study else None, int(trial) if trial else None)
    return None


def _study_name(body: bytes) -> str:
    try:
        content = json.loads(body)
    except ValueError:
        return ""
    return str(content.get("study_name", "")) if isinstance(content, dict) else ""
