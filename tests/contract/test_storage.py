"""Opening the shared database: the same on every back end."""

import subprocess
import sys

import optuna
from optuna.trial import TrialState

from ecgopt.database.engine import open_database

N_OPENERS = 8

_OPENER = """
import sys
from pathlib import Path
from ecgopt.database.engine import open_database
from ecgopt.database.tables import create_tables

print("ready", flush=True)
sys.stdin.read()
create_tables(open_database(sys.argv[1]))
"""


def test_first_openers_of_an_empty_database_do_not_collide(url):
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", _OPENER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(N_OPENERS)
    ]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.close()
    ends = [(opener.stderr.read(), opener.wait(timeout=120)) for opener in openers]
    for opener in openers:
        opener.stdout.close()
        opener.stderr.close()
    assert ends == [("", 0)] * N_OPENERS


def test_a_new_reader_gets_the_finished_and_running_trials_and_leaves_the_waiting(url):
    database = open_database(url)
    study = optuna.create_study(storage=database.optuna, study_name="begun")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    for _ in range(2):
        study.enqueue_trial({})
    running = study.ask()
    states = (TrialState.RUNNING, TrialState.COMPLETE)
    reader = open_database(url)
    seen = optuna.load_study(storage=reader.optuna, study_name="begun").get_trials(
        deepcopy=False, states=states
    )
    assert [trial.number for trial in seen] == [0, running.number]
    for opened in (database, reader):
        opened.engine.dispose()
