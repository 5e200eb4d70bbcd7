"""Reports and claims per second on the shared database, and the statements each of them takes.

    python -m benchmarks.storage [--workers 8] [--trials 12] [--rounds 3] [--url postgresql://...]

plain:  Optuna's default SQLite storage, a trial of 3 parameters and 10 reports, each with a
        pruning question, by ask and tell in separate processes
ecgopt: our SQLite (write-ahead log, one write lock from the start), the same trials as slots that
        are claimed, started by number, reported under the fence of their lease, pruned and told

Both sides take turns within one run, so their ratio is comparable and the absolute figures are not.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event

from benchmarks.contest import ratio
from ecgopt.causes import Cause
from ecgopt.database.engine import Database, open_database, quiet_optuna
from ecgopt.database.optuna.trial_rows import add_slots
from ecgopt.database.tables import create_tables
from ecgopt.jobs.leased_trial import LeasedTrial
from ecgopt.queue import items
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.regimes.hyperparameters import Range, SearchSpace

N_REPORTS = 10
NAME = "benchmark"
SPACE = SearchSpace(
    {
        "learning_rate": Range(low=1e-4, high=1e-1, log=True),
        "epochs": Range(low=5, high=50, log=False),
        "weight_decay": Range(low=1e-5, high=1e-1, log=True),
    }
)


def samplers(seed: int) -> dict[str, Any]:
    """Return the sampler and pruner of both sides."""
    return {
        "sampler": optuna.samplers.RandomSampler(seed=seed),
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=4),
    }


def plain_worker(url: str, n_trials: int, seed: int, ready: Barrier) -> None:
    """Run trials as a plain Optuna script does."""
    quiet_optuna()
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 120}})
    study = optuna.load_study(study_name=NAME, storage=storage, **samplers(seed))
    ready.wait()
    for _ in range(n_trials):
        trial = study.ask(SPACE.distributions())
        for step in range(1, N_REPORTS + 1):
            trial.report(0.5 + step / 100, step)
            trial.should_prune()
        study.tell(trial, 0.6)


def ecgopt_worker(url: str, _n_trials: int, seed: int, ready: Barrier) -> None:
    """Claim slots until none is left, and run each as a worker does."""
    quiet_optuna()
    database = open_database(url)
    study = optuna.load_study(study_name=NAME, storage=database.optuna, **samplers(seed))
    ready.wait()
    while (claim := items.claim(database, NAME, f"w{seed}", lease_seconds=60)) is not None:
        with Lease(database, claim, lease_seconds=60) as lease:
            trial = LeasedTrial.open(study, claim.payload["slot"], lease)
            trial.begin(SPACE)
            for step in range(1, N_REPORTS + 1):
                trial.report(step, 0.5 + step / 100)
                trial.should_prune()
            trial.close(TrialState.COMPLETE, 0.6, {})
            items.finish(database, claim, cause=Cause.DONE, result={})
    database.engine.dispose()


def prepare_ecgopt(url: str, n_trials: int) -> tuple[Database, optuna.Study]:
    """Create a study of waiting slots and their work items."""
    database = open_database(url)
    create_tables(database)
    study = optuna.create_study(storage=database.optuna, study_name=NAME, direction="maximize")
    slots = [
        NewItem(
            kind="trial", key=f"{k:05d}", group="g", needs=None, priority=k, payload={"slot": k}
        )
        for k in range(n_trials)
    ]
    with database.transaction() as connection:
        items.add_missing(connection, NAME, slots)
        add_slots(connection, study._study_id, range(n_trials), {})
    return database, study


def seconds_of(worker: Callable[..., None], url: str, n_workers: int, n_each: int) -> float:
    """Return how long this many processes take, from when all have opened the database."""
    forks = multiprocessing.get_context("fork")
    ready = forks.Barrier(n_workers + 1)
    crowd = [
        forks.Process(target=worker, args=(url, n_each, seed, ready)) for seed in range(n_workers)
    ]
    for member in crowd:
        member.start()
    ready.wait()
    begun = time.perf_counter()
    for member in crowd:
        member.join()
    assert all(member.exitcode == 0 for member in crowd)
    return time.perf_counter() - begun


def contest_of_writers(arguments: argparse.Namespace) -> None:
    """Print trials per second of both sides and their ratio."""
    seconds: dict[str, list[float]] = {"plain": [], "ecgopt": []}
    n_workers, n_each = arguments.workers, arguments.trials
    n_trials = n_workers * n_each
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/plain.sqlite3"
            optuna.create_study(storage=url, study_name=NAME, direction="maximize")
            seconds["plain"].append(seconds_of(plain_worker, url, n_workers, n_each))
            url = f"sqlite:///{folder}/ecgopt.sqlite3"
            database, _ = prepare_ecgopt(url, n_trials)
            database.engine.dispose()
            seconds["ecgopt"].append(seconds_of(ecgopt_worker, url, n_workers, n_each))
    for name, values in seconds.items():
        print(f"{name:<8} {n_trials / statistics.median(values):7.1f} trials/s")
    middle, low, high = ratio(seconds, "plain", "ecgopt")
    print(f"ecgopt / plain: {middle:.2f}x (rounds {low:.2f} to {high:.2f}), target 4x")


def claims_and_statements(name: str, url: str, n_trials: int = 200) -> None:
    """Print the time of a claim and the statements of a report, in one process."""
    database, study = prepare_ecgopt(url, n_trials)
    statements: list[str] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda _c, _u, text, *_: statements.append(text)
    )
    seconds, per_report = [], []
    for _ in range(n_trials):
        begun = time.perf_counter()
        claim = items.claim(database, NAME, "w", lease_seconds=60)
        seconds.append(time.perf_counter() - begun)
        assert claim is not None
        with Lease(database, claim, lease_seconds=60) as lease:
            trial = LeasedTrial.open(study, claim.payload["slot"], lease)
            trial.begin(SPACE)
            for step in (1, 2):
                statements.clear()
                trial.report(step, 0.5)
                trial.should_prune()
                per_report.append(sum(not text.startswith("BEGIN") for text in statements))
            trial.close(TrialState.COMPLETE, 0.6, {})
            items.finish(database, claim, cause=Cause.DONE, result={})
    database.engine.dispose()
    print(
        f"{name}: claim p50 {1000 * statistics.median(seconds):.1f} ms; "
        f"statements per report with its pruning question: {statistics.median(per_report):.0f} "
        f"(most {max(per_report)})"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=12, help="of each worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help="an empty server database, by default $ECGOPT_STORAGE")
    arguments = parser.parse_args()
    quiet_optuna()
    print(f"SQLAlchemy {sqlalchemy.__version__}, Optuna {optuna.__version__}")
    contest_of_writers(arguments)
    with tempfile.TemporaryDirectory() as folder:
        claims_and_statements("SQLite", f"sqlite:///{Path(folder)}/one.sqlite3")
    if url := arguments.url or os.environ.get("ECGOPT_STORAGE"):
        claims_and_statements("server", url)


if __name__ == "__main__":
    main()
