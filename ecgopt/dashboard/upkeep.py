"""What workers do for the dashboard between their items: little, and at most once a minute."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ecgopt.dashboard.scene import SECONDS_BETWEEN, read_scene
from ecgopt.database.engine import Database
from ecgopt.database.tables import take_turn
from ecgopt.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Refreshes the pages of one comparison, and never stops a worker by failing to."""

    database: Database
    workspace: Workspace
    comparison: str

    def after_item(self) -> None:
        """Refresh the pages if no worker did within the last minute."""
        with self._optional():
            if take_turn(self.database, self.comparison, seconds=SECONDS_BETWEEN):
                self._refresh_stale()

    def at_end(self) -> None:
        """Refresh the pages that do not show the last items yet."""
        with self._optional():
            self._refresh_stale()

    @contextmanager
    def _optional(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            # A page that cannot be drawn is no reason to train less.
            logger.exception("dashboard pages of %s: not refreshed", self.comparison)

    def _refresh_stale(self) -> None:
        scene = read_scene(self.database, self.comparison)
        if scene is None or not scene.stale:
            return
        # Loaded here: plotly and matplotlib take a second that most workers need not spend.
        from ecgopt.dashboard.refresh import Refresher

        Refresher(self.database, self.workspace).refresh(self.comparison)
