"""Is a study the same for any number of workers and kills, and what does that cost?

    python -m benchmarks.fixed_history same [--workers 1 2 4 8] [--kills 20] [--trials 24]
        [--pruning halving]
    python -m benchmarks.fixed_history cost [--workers 2 4 8] [--rounds 3] [--trials 20]
    python -m benchmarks.fixed_history waits [--workers 2 4 8] [--trials 20]

Two arms of the size ladder, one study each. Claims, leases, proposals, reports, pruning and
checkpoints are those of production; training plays the recorded curves (see recorded_worker.py).

`same` runs the study on SQLite and on PostgreSQL with each number of workers. One run is left
alone; in the others, workers are killed in the middle of their trials and replaced. It compares
everything that is recorded of the trials but times, workers and machines, as bytes.

`cost` runs lag 4 and lag "free" in turns and prints how much less lag 4 trains, in epochs per
second. An epoch takes --epoch-seconds of waiting, so the machine's cores are not what limits it.

`waits` computes the same without running anything, from 500 draws of the trials' lengths (of the
search space, without pruning): how much longer do the trials take where slots wait for others?
"""

import argparse
import heapq
import json
import math
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripted_worker import begin_scripted
from servers import PostgresServer
from sqlalchemy import func, select
from worker_crowd import Crowd

from benchmarks.recorded_worker import RecordedArms
from ecgopt.database.engine import open_database
from ecgopt.database.tables import work_item
from ecgopt.evidence.selection import choose_winner
from ecgopt.jobs.leased_trial import trials_of
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import SamplerTable

LADDER = Path(__file__).parent.parent / "studies" / "size_ladder.toml"
VARIES = ("seconds", "worker", "device", "software")
"""What the records of two equal trials may differ in."""


def study_file(
    folder: Path, *, trials: int, lag: str = "4", epochs: int = 100, pruning: str = "percentile"
) -> Path:
    """Write the size ladder with one size and replicate, this budget and search; return its path.

    Brackets of halving have four trials, so that small studies have several.
    """
    text = LADDER.read_text()
    for before, after in (
        ("train_sizes = [50, 100, 200, 400, 800]", "train_sizes = [200]"),
        ("high = 100", f"high = {epochs}"),
        ("trials = 20", f"trials = {trials}"),
        ("replicates = 3", "replicates = 1"),
        ("[sampler]", f'[pruning]\nkind = "{pruning}"\nbracket = 4\n\n[sampler]\nlag = {lag}'),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path = folder / "study.toml"
    workers = "[workers]\nlease_seconds = 2.0\ncheckpoint_seconds = 0.3\n"
    path.write_text(f"{text}\n[published]\nepochs = {epochs}\n\n{workers}")
    return path


@contextmanager
def workers_of(
    study: Path, url: str, *, n_workers: int, epoch_seconds: float
) -> Iterator[tuple[StudySpec, Crowd]]:
    """Begin a study and yield it with its workers."""
    spec, database = begin_scripted(study, url)
    options = {"arms": RecordedArms, "epoch_seconds": epoch_seconds, "poll_seconds": 0.05}
    try:
        with Crowd(study, url, study.parent, database, max_failures=1000, **options) as crowd:
            crowd.add(n_workers)
            yield spec, crowd
    finally:
        database.engine.dispose()


def run_killing(
    study: Path, url: str, *, n_workers: int, n_kills: int, epoch_seconds: float
) -> tuple[str, int]:
    """Run a study while workers are killed; return its trials as text and the workers lost."""
    draw = random.Random(n_workers)
    with workers_of(study, url, n_workers=n_workers, epoch_seconds=epoch_seconds) as (spec, crowd):
        n_trials = spec.budget.trials * len(spec.regimes)
        # The last trials are left alone, so that each kill finds a worker in the middle of one.
        for after in sorted(draw.randrange(n_trials - n_workers) for _ in range(n_kills)):
            crowd.wait_until(lambda after=after: crowd.n_done() >= after)
            least = draw.randint(0, 5)
            member, _ = crowd.wait_until(
                lambda least=least: crowd.holder(lambda item: item.progress >= least)
            )
            crowd.kill(member)
        crowd.finish()
    return recorded(spec, url)


def recorded(spec: StudySpec, url: str) -> tuple[str, int]:
    """Return what is recorded of each trial and each winner, as text, and how many workers died."""
    database = open_database(url)
    try:
        studies = {}
        for key in expand_studies(spec):
            trials = trials_of(database, spec, key)
            studies[key.path] = {
                "winner": choose_winner(trials).number,
                "trials": [_without_times(asdict(trial)) for trial in trials],
            }
        with database.transaction() as connection:
            lost = connection.execute(select(func.sum(work_item.c.total_failures))).scalar_one()
    finally:
        database.engine.dispose()
    return json.dumps(studies, indent=1, sort_keys=True), int(lost)


def _without_times(part: Any) -> Any:
    if isinstance(part, dict):
        return {k: _without_times(inner) for k, inner in part.items() if k not in VARIES}
    return part


def show_same(arguments: argparse.Namespace) -> bool:
    """Compare runs; return whether all are the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = PostgresServer()
        servers.start()
        try:
            texts = []
            for number, (back_end, n_workers) in enumerate(
                [
                    ("sqlite", 1),
                    *((e, n) for e in ("sqlite", "postgresql") for n in arguments.workers),
                ]
            ):
                own = folder / str(number)
                own.mkdir()
                url = (
                    f"sqlite:///{own}/ecgopt.sqlite3"
                    if back_end == "sqlite"
                    else servers.url(servers.new_database())
                )
                n_kills = arguments.kills if number else 0
                study = study_file(
                    own, trials=arguments.trials, epochs=arguments.epochs, pruning=arguments.pruning
                )
                text, lost = run_killing(
                    study, url, n_workers=n_workers, n_kills=n_kills,
                    epoch_seconds=arguments.epoch_seconds,
                )  # fmt: skip
                texts.append(text)
                ended = (text.count('"state": "complete"'), text.count('"state": "pruned"'))
                print(
                    f"{back_end}, {n_workers} workers, {n_kills} kills ({lost} workers lost in the "
                    f"middle of a trial): {len(text):,} bytes, {ended[0]} complete, "
                    f"{ended[1]} pruned, "
                    f"{'the same' if text == texts[0] else 'DIFFERENT'}",
                    flush=True,
                )
        finally:
            servers.remove()
    return len(set(texts)) == 1


def rate(study: Path, url: str, *, n_workers: int, epoch_seconds: float) -> tuple[float, float]:
    """Run a study; return its epochs per second and trials per second."""
    with workers_of(study, url, n_workers=n_workers, epoch_seconds=epoch_seconds) as (spec, crowd):
        crowd.finish()
    database = open_database(url)
    try:
        trials = [trial for key in expand_studies(spec) for trial in trials_of(database, spec, key)]
        query = select(func.min(work_item.c.claimed_at), func.max(work_item.c.finished_at))
        with database.transaction() as connection:
            begin, end = connection.execute(query.where(work_item.c.kind == "trial")).one()
    finally:
        database.engine.dispose()
    return sum(t.n_epochs for t in trials) / (end - begin), len(trials) / (end - begin)


def show_cost(arguments: argparse.Namespace) -> bool:
    """Print what lag costs for each number of workers."""
    losses: dict[int, list[tuple[float, float]]] = {n: [] for n in arguments.workers}
    for number in range(arguments.rounds):
        for n_workers in arguments.workers:
            found = {}
            for lag in ("4", '"free"') if number % 2 else ('"free"', "4"):
                with tempfile.TemporaryDirectory() as name:
                    study = study_file(
                        Path(name), trials=arguments.trials, lag=lag, epochs=arguments.epochs
                    )
                    url = f"sqlite:///{name}/ecgopt.sqlite3"
                    found[lag] = rate(
                        study, url, n_workers=n_workers, epoch_seconds=arguments.epoch_seconds
                    )
            (lag_epochs, lag_trials), (epochs, trials) = found["4"], found['"free"']
            losses[n_workers].append((1 - lag_epochs / epochs, 1 - lag_trials / trials))
            print(
                f"round {number + 1}, {n_workers} workers: {lag_epochs:.1f} against {epochs:.1f} "
                f"epochs/s, {lag_trials:.2f} against {trials:.2f} trials/s",
                flush=True,
            )
    for n_workers, of_rounds in losses.items():
        by_epochs, by_trials = ([100 * loss[k] for loss in of_rounds] for k in (0, 1))
        print(
            f"{n_workers} workers for 2 studies: lost {statistics.median(by_epochs):.1f} % of the "
            f"epochs/s ({min(by_epochs):.1f} to {max(by_epochs):.1f}), "
            f"{statistics.median(by_trials):.1f} % of the trials/s "
            f"({min(by_trials):.1f} to {max(by_trials):.1f})"
        )
    return True


def total_time(lengths: Sequence[Sequence[float]], n_workers: int, table: SamplerTable) -> float:
    """Return when the last trial ends, by the lengths of each study's trials.

    A free worker takes the first slot that may begin; the time goes from one end to the next.
    """
    waiting = [(slot, study) for slot in range(len(lengths[0])) for study in range(len(lengths))]
    running: list[tuple[float, int, int]] = []
    now = 0.0
    while waiting or running:
        open_slots = {*waiting, *((slot, study) for _, slot, study in running)}
        for slot, study in list(waiting):
            last = table.last_seen(slot)
            may_begin = last is None or not any((k, study) in open_slots for k in range(last + 1))
            if may_begin and len(running) < n_workers:
                waiting.remove((slot, study))
                heapq.heappush(running, (now + lengths[study][slot], slot, study))
        now, *_ = heapq.heappop(running)
    return now


def show_waits(arguments: argparse.Namespace) -> bool:
    """Print how much of the trials per hour waiting costs, for each number of workers."""
    draw = random.Random(0)
    tables = [SamplerTable(lag=4, startup_trials=6), SamplerTable(lag="free", startup_trials=6)]
    longest = math.log(arguments.epochs / 8)
    for n_workers in arguments.workers:
        losses = []
        for _ in range(500):
            lengths = [
                [8 * math.exp(draw.random() * longest) for _ in range(arguments.trials)]
                for _ in range(2)
            ]
            waits, free = (total_time(lengths, n_workers, table) for table in tables)
            losses.append(100 * (1 - free / waits))
        print(
            f"{n_workers} workers for 2 studies: {statistics.mean(losses):.1f} % fewer trials per "
            f"hour on average, {sorted(losses)[475]:.1f} % in one study of twenty"
        )
    return True


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("same", "cost", "waits"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--kills", type=int, default=20, help="in each run of `same` but the first")
    parser.add_argument("--trials", type=int, default=24, help="of each of the two studies")
    parser.add_argument("--epochs", type=int, default=100, help="of the longest schedule")
    parser.add_argument("--epoch-seconds", type=float, default=0.03)
    parser.add_argument("--pruning", default="percentile", help="of `same`: or halving")
    parser.add_argument("--rounds", type=int, default=3, help="of `cost`")
    arguments = parser.parse_args()
    # A stopped run takes its server and its workers away with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shown = {"same": show_same, "cost": show_cost, "waits": show_waits}
    sys.exit(0 if shown[arguments.what](arguments) else 1)


if __name__ == "__main__":
    main()
