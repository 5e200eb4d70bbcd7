"""Updates notes, plots, files and trade-off studies of comparisons.

Any process may do it at any time and repeatedly: a study without new trials is skipped, writing
twice gives the same pages, and a trial enters a trade-off study once.
"""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ecgopt.analysis.pareto import TradePoint
from ecgopt.comparison.evidence import finals_of
from ecgopt.dashboard import artifacts, notes, plots
from ecgopt.dashboard.page_state import SECONDS_BETWEEN, STAMP, PageState, read_page_state
from ecgopt.database.comparisons import comparison_names
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import COORDINATES
from ecgopt.database.optuna.study_attrs import StudyAttributes
from ecgopt.database.optuna.trade_off import (
    METRICS,
    fill_trade_off,
    open_trade_off,
    trade_off_name,
)
from ecgopt.errors import DatabaseUnavailable, DataError, StorageError, UserError
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import FinalEvidence, TrialEvidence, load_predictions
from ecgopt.evidence.selection import choose_winner
from ecgopt.jobs.leased_trial import trials_of
from ecgopt.study_file.cells import (
    StudyKey,
    expand_cells,
    replicates_of,
    studies_of_cell,
    study_name,
)
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _TradeOff:
    study_id: int
    upstream: str
    sources: frozenset[int]
    """Ids of the studies that its trials come from."""


class Publisher:
    """Updates the pages of a database's comparisons."""

    def __init__(self, database: Database, workspace: Workspace) -> None:
        """Publish from `database`, with files and predictions in `workspace`."""
        self._database = database
        self._workspace = workspace

    def publish_all(self) -> int:
        """Update every comparison; return the number of pages written."""
        return sum(self.publish(name) for name in comparison_names(self._database))

    def keep_publishing(self) -> None:
        """Update every comparison once a minute in a thread, as long as the process runs."""
        threading.Thread(target=self._publish_regularly, name="refresh", daemon=True).start()

    def publish(self, name: str) -> int:
        """Update the comparison; return the number of pages written."""
        pages = read_page_state(self._database, name)
        if pages is None or not pages.stale:
            return 0
        trade_offs = self._fill_trade_offs(pages)
        finals = finals_of(self._database, pages.spec)
        for study_id in pages.stale:
            self._write_study(pages, study_id, trade_offs, finals)
        return len(pages.stale)

    def _publish_regularly(self) -> None:
        pause = threading.Event()
        while not pause.wait(SECONDS_BETWEEN):
            try:
                self.publish_all()
            except DatabaseUnavailable as error:
                logger.warning("pages: %s; trying again", error)
            except StorageError as error:
                logger.error("the pages are no longer updated: %s", error)
                return

    def _fill_trade_offs(self, pages: PageState) -> list[_TradeOff]:
        """Fill the trade-off studies and return them."""
        spec, ids = pages.spec, {key: study_id for study_id, key in pages.keys.items()}
        filled = []
        for cell in expand_cells(spec):
            for replicate in range(replicates_of(spec, cell)):
                keys = [k for k in studies_of_cell(spec, cell, replicate) if k in ids]
                sources = {ids[key]: key for key in keys}
                if not any("COMPLETE" in pages.stamps[i] for i in sources):
                    continue  # an empty Pareto page would only be in the way
                name = trade_off_name(spec.name, cell, replicate)
                trade_off = open_trade_off(self._database, name)
                filled.append(_TradeOff(trade_off, cell.upstream, frozenset(sources)))
                with self._database.transaction() as connection:
                    fill_trade_off(connection, spec.name, trade_off, sources)
                # Even if nothing is new: a process that copied the last trials may have died here.
                if not sources.keys().isdisjoint(pages.stale):
                    self._write_trade_off(pages, trade_off, sources)
        return filled

    def _write_trade_off(
        self, pages: PageState, trade_off: int, sources: Mapping[int, StudyKey]
    ) -> None:
        points = [
            TradePoint(
                seconds=trial.seconds, value=trial.value, regime=key.regime, number=trial.number
            )
            for key in sources.values()
            for trial in trials_of(self._database, pages.spec, key)
            if trial.state == "complete" and trial.value is not None
        ]
        figure = plots.trade_off(points, pages.spec.regimes)
        note = notes.trade_off_note(sources)
        with self._database.transaction() as connection:
            page = StudyAttributes(connection, trade_off)
            page.note = notes.with_own_notes(note, page.note)
            page.set_metric_names(METRICS)
            page.set_plot("score-against-time", figure)
            page.write()

    def _write_study(
        self,
        pages: PageState,
        study_id: int,
        trade_offs: Iterable[_TradeOff],
        finals: Sequence[FinalEvidence],
    ) -> None:
        # All is read and drawn before the transaction: under SQLite it holds the only write lock.
        spec, key = pages.spec, pages.keys[study_id]
        name, trials = study_name(spec.name, key), trials_of(self._database, spec, key)
        rivals = pages.rivals(study_id)
        own_finals = [final for final in finals if final.study == key.path]
        winners = [final for final in own_finals if final.role == "tuned"]
        files = artifacts.study_files(key.path, trials, winners, self._predictions(winners))
        ids = {
            file.filename: artifacts.keep(self._workspace.artifacts, name, file) for file in files
        }
        number = _winner(trials)
        curves = plots.learning_curves(trials, number)
        budget = plots.budget_curves(
            {
                other.regime: trials_of(self._database, spec, other)
                for other in _in_order(spec, [key, *rivals.values()])
            }
        )
        attributes = self._database.optuna.get_study_user_attrs(study_id)
        question = attributes.get(COORDINATES, {}).get("question", spec.question)
        note = notes.study_note(spec, key, question, trials, own_finals) + notes.rival_links(
            study_id,
            rivals,
            {found.study_id: found.upstream for found in trade_offs if study_id in found.sources},
        )
        with self._database.transaction() as connection:
            page = StudyAttributes(connection, study_id)
            page.note = notes.with_own_notes(note, page.note)
            page.set_plot("learning-curves", curves)
            page.set_plot("budget", budget)
            for file in files:
                page.set_artifact(ids[file.filename], file.filename, file.mimetype)
            page.set_metric_names([METRICS[0]])
            page.set_study_system_attr(study_id, STAMP, pages.stamps[study_id])
            page.write()

    def _predictions(self, finals: Sequence[FinalEvidence]) -> Predictions | None:
        if not finals:
            return None
        first = min(finals, key=lambda final: final.seed_index)
        try:
            return load_predictions(first, self._workspace.root)
        except DataError as error:
            # The dashboard may run on a host that does not share the workers' folder.
            logger.warning("no ROC curve: %s", error)
            return None


def _in_order(spec: StudySpec, keys: Iterable[StudyKey]) -> list[StudyKey]:
    return sorted(keys, key=lambda key: spec.regimes.index(key.regime))


def _winner(trials: Iterable[TrialEvidence]) -> int | None:
    try:
        return choose_winner(trials).number
    except UserError:
        return None  # no trial is complete yet
