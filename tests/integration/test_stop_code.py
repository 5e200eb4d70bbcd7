"""The exit code by which a Kubernetes Job tells a pre-empted worker from a finished study."""

import signal

from processes import running
from watching import wait_for, watched


def test_a_worker_stopped_by_sigterm_leaves_with_the_stop_code(study_file, tmp_path, sqlite_url):
    study = study_file(trials=4, epochs_high=400, published_epochs=400)
    command = ("worker", study, "--workers", 1, "--stop-code", 75)
    places = ("--workspace", tmp_path, "--storage", sqlite_url)
    with watched(sqlite_url) as seen, running(*command, *places) as worker:
        wait_for(seen.in_trials, "a worker in a trial")
        worker.send_signal(signal.SIGTERM)
        _, errors = worker.communicate(timeout=120)
    assert worker.returncode == 75, errors
