"""Freezing a process without freezing the database with it."""

import os
import signal
import sqlite3
import time
from contextlib import closing


def freeze(pid, database):
    """Stop the process at a moment when it holds no lock of the database.

    Frozen inside a transaction it would keep SQLite's only lock, and nobody else could go on.
    """
    os.kill(pid, signal.SIGSTOP)
    while not _is_writable(database):
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
        os.kill(pid, signal.SIGSTOP)


def _is_writable(database):
    """Tell whether a transaction can begin within a second or so."""
    if database.dialect != "sqlite":
        return True
    with closing(sqlite3.connect(database.engine.url.database, timeout=2.0)) as file:
        file.isolation_level = None
        try:
            file.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        file.execute("ROLLBACK")
        return True
