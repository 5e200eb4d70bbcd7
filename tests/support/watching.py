"""Watching a study's workers from outside, through its database."""

import time
from contextlib import contextmanager

from ecgopt.database.engine import open_database
from ecgopt.database.tables import create_tables
from ecgopt.queue import items
from ecgopt.queue.heartbeats import workers_seen


class Watched:
    """One comparison in one open database."""

    def __init__(self, database, comparison):
        self.database = database
        self._comparison = comparison

    def in_trials(self):
        """Return the workers that have finished an epoch of a trial they are at."""
        return [
            seen
            for seen in workers_seen(self.database, self._comparison)
            if seen.epoch and (seen.item or "").startswith("trial/")
        ]

    def is_finished(self):
        """Tell whether nothing is left to do; the comparison must have begun."""
        return items.unfinished(self.database, self._comparison) == 0


@contextmanager
def watched(url, comparison="tiny"):
    """Open the database of a comparison, which may not have begun, and close it again."""
    database = open_database(url)
    try:
        create_tables(database)
        yield Watched(database, comparison)
    finally:
        database.engine.dispose()


def wait_for(condition, what, seconds=150):
    """Return the condition's first true value; fail after a time that only a hang needs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never came: {what}")
