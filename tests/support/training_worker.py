"""Real workers that really train, forked from one process that has imported all they need."""

import logging
import os
import threading
from pathlib import Path

# Not used here: `work` imports them when it is called, which takes seconds in a process that is
# not warm.
from ecgopt.cli.worker_process import stop_on_signals, work
from ecgopt.database.url import STORAGE_VARIABLE


def main(study, url, workspace, log, options):
    """Be a worker process, its log in a file of its own."""
    logging.basicConfig(filename=log, level=logging.INFO, format="%(message)s", force=True)
    stop = threading.Event()
    stop_on_signals(stop)
    os.environ[STORAGE_VARIABLE] = url  # it may hold a password, which an argument must not
    work(Path(study), Path(workspace), stop=stop, **options)
