"""Writing notes, plots and file entries of one study as Optuna's dashboard stores them, at once.

The dashboard cuts long texts into numbered parts, one attribute each. Two writers whose parts mix
would leave a text that nothing can read, so all of a study's parts are one transaction here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.storages._rdb import models as optuna_tables
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna_dashboard._custom_plot_data import save_graph_object_json
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from sqlalchemy import Connection, delete, insert, select, update

_STUDIES = optuna_tables.StudyModel.__table__
_ATTRIBUTES = optuna_tables.StudySystemAttributeModel.__table__

_PLOT_PREFIX = "dashboard:plot_data:"
_ARTIFACT_PREFIX = "artifacts:"
_NOTE_VERSION = "dashboard:note_ver"


class StudyAttributes:
    """The system attributes of one study: read, changed here, and written back together.

    It answers the two calls that the dashboard's own functions make of a storage.
    """

    def __init__(self, connection: Connection, study_id: int) -> None:
        """Read them and keep other writers of this study out until the transaction ends."""
        self._connection = connection
        self._study_id = study_id
        connection.execute(
            update(_STUDIES)
            .where(_STUDIES.c.study_id == study_id)
            .values(study_name=_STUDIES.c.study_name)
        )
        query = select(_ATTRIBUTES.c.key, _ATTRIBUTES.c.value_json).where(
            _ATTRIBUTES.c.study_id == study_id
        )
        self._stored = {row.key: json.loads(row.value_json) for row in connection.execute(query)}
        self._now = dict(self._stored)

    def get_study_system_attrs(self, _study_id: int) -> dict[str, Any]:
        """Return the attributes as they will be."""
        return dict(self._now)

    def set_study_system_attr(self, _study_id: int, key: str, value: object) -> None:
        """Set one attribute."""
        self._now[key] = value

    @property
    def note(self) -> str:
        """The study's note, in Markdown."""
        return str(get_note_from_system_attrs(self._now, None)["body"])

    @note.setter
    def note(self, body: str) -> None:
        if body != self.note:
            version = int(self._now.get(_NOTE_VERSION, 0)) + 1
            save_note_with_version(self, self._study_id, None, version, body)

    def set_metric_names(self, names: Sequence[str]) -> None:
        """Have axes and tables say what the objectives are."""
        # Not through `Study.set_metric_names`: it warns on every call that it may change.
        self._now[_SYSTEM_ATTR_METRIC_NAMES] = list(names)

    def set_plot(self, name: str, figure: go.Figure) -> None:
        """Show `figure` on the study's page under `name`, in place of an earlier one."""
        prefix = f"{_PLOT_PREFIX}{name}:"
        save_graph_object_json(self, self._study_id, prefix, figure.to_json())

    def set_artifact(self, artifact_id: str, filename: str, mimetype: str) -> None:
        """List the stored file `artifact_id` on the study's page."""
        entry = {
            "artifact_id": artifact_id,
            "filename": filename,
            "mimetype": mimetype,
            "encoding": None,
        }
        self._now[_ARTIFACT_PREFIX + artifact_id] = json.dumps(entry)

    def write(self) -> None:
        """Write what has changed, in the caller's transaction."""
        changed = {key: value for key, value in self._now.items() if self._stored.get(key) != value}
        if not changed:
            return
        self._connection.execute(
            delete(_ATTRIBUTES).where(
                _ATTRIBUTES.c.study_id == self._study_id, _ATTRIBUTES.c.key.in_(list(changed))
            )
        )
        self._connection.execute(insert(_ATTRIBUTES), self._rows(changed))

    def _rows(self, changed: Mapping[str, object]) -> list[dict[str, object]]:
        return [
            {"study_id": self._study_id, "key": key, "value_json": json.dumps(value)}
            for key, value in changed.items()
        ]
