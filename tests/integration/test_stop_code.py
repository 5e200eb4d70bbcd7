"""The exit code by which a Kubernetes Job tells a pre-empted worker from a finished study."""

import signal

from processes import start
from watching import wait_for, watched


def test_a_worker_stopped_by_sigterm_leaves_with_the_stop_code(study_file, tmp_path, sqlite_url):
    study = study_file(trials=4, epochs_high=400, published_epochs=400)
    with watched(sqlite_url) as seen:
        worker = start(
            "worker", study, "--workers", 1, "--stop-code", 75,
            "--workspace", tmp_path, "--storage", sqlite_url,
        )  # fmt: skip
        try:
            wait_for(seen.in_trials, "a worker in a trial")
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=120)
        finally:
            worker.kill()
    assert worker.returncode == 75, errors
