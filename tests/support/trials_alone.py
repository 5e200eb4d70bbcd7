"""Scripted studies of trials alone: all that a dashboard looks at, in a second."""

import threading

from scripted_worker import begin_scripted, scripted_study, work_scripted
from sqlalchemy import delete

from ecgopt.database.tables import work_item

N_TRIALS = 10


def begin_trials(folder, url, n_trials=N_TRIALS):
    """Begin a study in the database of the URL; return its file, its spec and its database."""
    study = scripted_study(folder, trials=n_trials, lease=30)
    spec, database = begin_scripted(study, url)
    with database.transaction() as connection:
        connection.execute(delete(work_item).where(work_item.c.kind != "trial"))
    return study, spec, database


def finish_trials(study, folder, url):
    """Work on all of the study's trials, and write its pages on the way."""
    work_scripted(study, url, folder, stop=threading.Event(), epoch_seconds=0, maintenance=True)
