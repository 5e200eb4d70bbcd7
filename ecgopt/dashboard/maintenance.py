"""Page updates that workers make between their items, at most once a minute."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ecgopt.dashboard.page_state import SECONDS_BETWEEN, read_page_state
from ecgopt.database.engine import Database
from ecgopt.database.tables import take_turn
from ecgopt.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PageMaintenance:
    """Updates the pages of one comparison; a failure is logged and never stops a worker."""

    database: Database
    workspace: Workspace
    comparison: str

    def after_item(self) -> None:
        """Update the pages if no worker did within the last minute."""
        with self._optional():
            if take_turn(self.database, self.comparison, seconds=SECONDS_BETWEEN):
                self._refresh_stale()

    def at_end(self) -> None:
        """Update the pages that do not show the last items yet."""
        with self._optional():
            self._refresh_stale()

    @contextmanager
    def _optional(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            # A page that cannot be drawn is no reason to train less.
            logger.exception("dashboard pages of %s: not updated", self.comparison)

    def _refresh_stale(self) -> None:
        pages = read_page_state(self.database, self.comparison)
        if pages is None or not pages.stale:
            return
        # Loaded here: plotly and matplotlib take a second that most workers need not spend.
        from ecgopt.dashboard.publish import Publisher

        Publisher(self.database, self.workspace).publish(self.comparison)
