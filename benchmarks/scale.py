"""200 workers share 5,000 trials on PostgreSQL: is the budget exact, and what does a trial cost?

    python -m benchmarks.scale [--workers 200] [--trials 5000] [--studies 50] [--epoch-seconds 0]

Everything but the networks is production code: the worker's loop, claims, leases, TPE, median
pruning, reports, closing. An epoch plays a recorded learning curve (see recorded_worker.py) and
takes --epoch-seconds. At 0 every worker asks the database for something at all times, as 200 GPUs
never would. No checkpoint is due within such a short trial, and no dashboard page is drawn.

--lag 4 shows what waiting for earlier trials costs: the seconds of a whole run against --lag free,
the default.

--studies 50 shares the trials over a grid as papers have it (sizes x regimes x replicates);
--studies 2 puts them all into one cell: the longest history that a proposal can have to read.

All workers run on this machine beside the server, so trials per second only say how long the
run took. Compare the processor's time of a trial from bin to bin: it is what would grow.
"""

import argparse
import csv
import gc
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from optuna.storages._rdb.models import TrialModel
from scripted_worker import begin_spec
from servers import PostgresServer
from sqlalchemy import func, select

from benchmarks.recorded_worker import COLUMNS, work_recorded
from ecgopt.database.engine import open_database, quiet_optuna
from ecgopt.database.tables import work_item
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.spec import StudySpec

LADDER = Path(__file__).parent.parent / "studies" / "size_ladder.toml"
CONNECTIONS_EACH = 4

Sample = tuple[float, int, float]
"""Time, trials done, seconds of the server's processor."""
Row = dict[str, str]
"""What a worker measured of one trial, by the names of `COLUMNS`."""


def ladder_of(n_studies: int, n_trials: int, lag: str) -> StudySpec:
    """Return the size ladder with this many studies and trials in all, and another lag."""
    spec = load_spec(LADDER)
    table = spec.sampler.model_copy(update={"lag": lag if lag == "free" else int(lag)})
    spec = spec.model_copy(update={"sampler": table})
    sizes = spec.train_sizes if n_studies % 10 == 0 else spec.train_sizes[-1:]
    replicates, rest = divmod(n_studies, len(sizes) * len(spec.regimes))
    if rest or n_trials % n_studies:
        raise SystemExit("--studies must be even, and a divisor of --trials")
    budget = spec.budget.model_copy(
        update={"trials": n_trials // n_studies, "replicates": replicates}
    )
    return spec.model_copy(update={"train_sizes": sizes, "budget": budget})


class ServerLoad:
    """What our own server has spent so far; an external one does not tell."""

    def __init__(self, server: PostgresServer | None) -> None:
        self._server = server
        self._seconds = 0.0

    def seconds(self) -> float:
        """Return the processor's seconds of all its processes, living and gone."""
        if self._server is None:
            return float("nan")
        postmaster, *children = self._server.processes()
        ticks = sum(_ticks(postmaster, 4)) + sum(sum(_ticks(pid, 2)) for pid in children)
        # The kernel may leave out a child of its list while another one ends.
        self._seconds = max(self._seconds, ticks / os.sysconf("SC_CLK_TCK"))
        return self._seconds


def _ticks(pid: int, n_fields: int) -> list[int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []  # it has just ended
    return [int(field) for field in stat.rsplit(")", 1)[1].split()[11 : 11 + n_fields]]


def run_crowd(
    spec: StudySpec, url: str, folder: Path, load: ServerLoad, arguments: argparse.Namespace
) -> list[Sample]:
    """Let the workers do all the work; return (time, trials done, server seconds) on the way."""
    forks = multiprocessing.get_context("fork")
    ready = forks.Barrier(arguments.workers + 1)
    gc.freeze()  # the pages of what is loaded stay shared
    crowd = [
        forks.Process(
            target=work_recorded,
            args=(spec, url, folder, number, ready, arguments.epoch_seconds),
            daemon=True,
        )
        for number in range(arguments.workers)
    ]
    started = time.time()
    for member in crowd:
        member.start()
    ready.wait()
    print(f"{arguments.workers} workers ready after {time.time() - started:.0f} s", flush=True)
    database = open_database(url)
    samples: list[Sample] = []
    deadline = time.time() + arguments.seconds
    query = select(func.count()).where(work_item.c.kind == "trial", work_item.c.state == "done")
    while time.time() < deadline and any(member.is_alive() for member in crowd):
        with database.transaction() as connection:
            n_done = connection.execute(query).scalar_one()
        samples.append((time.time(), n_done, load.seconds()))
        time.sleep(1)
    for member in crowd:
        member.kill()  # of those left at the deadline
        member.join()
    database.engine.dispose()
    return samples


def rows_of(folder: Path) -> list[Row]:
    """Return the workers' rows in the order in which the trials were closed."""
    rows: list[Row] = []
    for path in folder.glob("worker-*.csv"):
        with path.open(newline="") as file:
            rows += [dict(zip(COLUMNS, row, strict=True)) for row in csv.reader(file)]
    return sorted(rows, key=lambda row: float(row["finished_at"]))


def check_budget(url: str, n_trials: int, rows: Sequence[Row]) -> bool:
    """Print what became of the slots; return whether each was used exactly once."""
    database = open_database(url)
    trials = TrialModel.__table__
    with database.transaction() as connection:
        found = connection.execute(select(trials.c.study_id, trials.c.number, trials.c.state)).all()
        items = connection.execute(
            select(work_item.c.state, work_item.c.fence, work_item.c.total_failures).where(
                work_item.c.kind == "trial"
            )
        ).all()
    database.engine.dispose()
    states = Counter(row.state.name for row in found)
    slots = {(row.study_id, row.number) for row in found}
    closed = Counter((row["study"], row["slot"]) for row in rows)
    done = Counter(row.state for row in items)
    print(f"trials in Optuna: {dict(states)}, {len(slots)} different slots")
    print(f"work items: {dict(done)}, {sum(row.fence for row in items)} claims of them, "
          f"{sum(row.total_failures for row in items)} lost")  # fmt: skip
    print(f"closed by workers: {len(rows)}, {len(closed)} different, most {max(closed.values())}x")
    finished = states["COMPLETE"] + states["PRUNED"]
    exact = n_trials == finished == len(found) == len(slots) == done["done"] == len(closed)
    exact = exact and max(closed.values()) == 1 and len(items) == n_trials
    print(f"exact budget of {n_trials}: {'yes' if exact else 'NO'}")
    return exact


def at(samples: Sequence[Sample], n_done: int) -> tuple[float, float]:
    """Return time and server seconds when so many trials were done, between two samples."""
    after = next(k for k, sample in enumerate(samples) if sample[1] >= n_done)
    (t0, n0, s0), (t1, n1, s1) = samples[max(after - 1, 0)], samples[after]
    share = (n_done - n0) / (n1 - n0) if n1 > n0 else 1.0
    return t0 + share * (t1 - t0), s0 + share * (s1 - s0)


def table(rows: Sequence[Row], samples: Sequence[Sample], n_bins: int) -> None:
    """Print medians over the trials of each bin: milliseconds of the processor, statements."""
    size = len(rows) // n_bins
    stages = ("claim", "open", "propose", "report", "prune", "close", "finish")
    print("processor's milliseconds; those of stages are per call, in the worker alone")
    print("| finished | trials/s | worker | server | statements | commits | ", end="")
    print(" | ".join(stages), "|")
    for begin in range(0, size * n_bins, size):
        part = rows[begin : begin + size]
        (t0, s0), (t1, s1) = at(samples, begin), at(samples, min(begin + size, samples[-1][1]))
        cells = [
            f"{begin + size}",
            f"{size / (t1 - t0):.1f}" if t1 > t0 else "-",
            f"{1000 * median(part, 'cpu_seconds'):.0f}",
            f"{1000 * (s1 - s0) / size:.0f}",
            f"{median(part, 'statements'):.0f}",
            f"{median(part, 'commits'):.0f}",
            *(f"{1000 * per_call(part, stage):.1f}" for stage in stages),
        ]
        print("| " + " | ".join(cells) + " |")


def median(rows: Sequence[Row], column: str) -> float:
    """Return the median of a column."""
    return statistics.median(float(row[column]) for row in rows)


def per_call(rows: Sequence[Row], stage: str) -> float:
    """Return the median over trials of a stage's seconds in one call."""
    calls = [(float(row[f"{stage}_cpu"]), int(row[f"{stage}_calls"])) for row in rows]
    return statistics.median([cpu / n for cpu, n in calls if n] or [float("nan")])


def main() -> None:
    """Run the simulation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--trials", type=int, default=5000, help="in all")
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--lag", default="free", help="of the sampler")
    parser.add_argument("--epoch-seconds", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="end the run after these")
    parser.add_argument("--bins", type=int, default=10)
    parser.add_argument("--url", help="an empty server database; by default a server of its own")
    arguments = parser.parse_args()
    quiet_optuna()
    # A stopped run takes its server and its workers away with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    spec = ladder_of(arguments.studies, arguments.trials, arguments.lag)
    server = None
    if (url := arguments.url) is None:
        server = PostgresServer()
    try:
        if server is not None:
            room = CONNECTIONS_EACH * arguments.workers + 20
            server.start(fsync="on", max_connections=room)
            url = server.url(server.new_database())
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            database = open_database(url)
            begin_spec(spec, database)
            database.engine.dispose()
            samples = run_crowd(spec, url, folder, ServerLoad(server), arguments)
            rows = rows_of(folder)
        print(f"{len(rows)} trials in {samples[-1][0] - samples[0][0]:.0f} s")
        table(rows, samples, arguments.bins)
        exact = check_budget(url, arguments.trials, rows)
    finally:
        if server is not None:
            server.remove()
    raise SystemExit(0 if exact else 1)


if __name__ == "__main__":
    main()
