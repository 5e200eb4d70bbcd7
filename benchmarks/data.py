"""Speed of reading, preparing and opening data, against wfdb in the same run.

    python -m benchmarks.data [--records 3000] [--against CHECKOUT [--real SOURCE FOLDER]]

Every line is one claim: what is compared, the ratio, the target, and whether it is met. Ratios are
taken within one run and from CPU time, of child processes too, so they hold on a slow or busy
machine as on a fast one; only the line of two processes compares elapsed time. ECGOPT_DATA may name
the folder of real records; the decoding of 100 Hz records is then measured on them. `--against`
measures `prepare` alone, in turns with another checkout of the package, such as that of an earlier
commit (`git worktree add CHECKOUT COMMIT`), on made records or on those of a set.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from ecgopt.data.conditioning import Conditioned
from ecgopt.data.outcomes import Kept
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.prepared import open_prepared
from ecgopt.data.prepared_writer import PreparedWriter
from ecgopt.data.records import RecordFacts
from ecgopt.data.sources.synthetic import SyntheticSettings, write_synthetic
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header

PTBXL_RECORDS = 21_799


def main() -> int:
    """Measure all claims and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=3000, help="records to prepare")
    parser.add_argument("--against", type=Path, help="checkout whose `prepare` takes turns")
    parser.add_argument("--real", nargs=2, metavar=("SOURCE", "FOLDER"), help="records to prepare")
    parser.add_argument("--rounds", type=int, default=6, help="rounds against the checkout")
    options = parser.parse_args()
    n_records = options.records
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.against is not None:
            real = options.real or made_records(folder / "raw", n_records)
            return 0 if in_turns(options.against, *real, rounds=options.rounds) else 1
        met = [
            *preparing(folder, n_records),
            decoding(folder),
            opening(folder),
        ]
    return 0 if all(met) else 1


PREPARE_ONCE = """
import sys, tempfile, time
from pathlib import Path
import numpy, pandas, pyarrow
from ecgopt.data.prepare import PrepareSettings, prepare
with tempfile.TemporaryDirectory() as name:
    start = time.process_time()
    prepare(sys.argv[1], [Path(sys.argv[2])], Path(name), PrepareSettings(broken="drop"))
    print(time.process_time() - start)
"""


def made_records(folder: Path, n_records: int) -> tuple[str, Path]:
    """Write synthetic records; return their source and folder."""
    write_synthetic(folder, SyntheticSettings(n_records=n_records, seed=1))
    return "synthetic", folder


def in_turns(other: Path, source: str, raw: Path, *, rounds: int) -> bool:
    """Compare the CPU time of `prepare` here and in another checkout, in processes of their own."""
    seconds: dict[Path, list[float]] = {other: [], Path(__file__).parents[1]: []}
    for number in range(rounds):
        for checkout in list(seconds)[:: 1 if number % 2 == 0 else -1]:
            done = subprocess.run(
                [sys.executable, "-c", PREPARE_ONCE, source, str(raw)],
                env=os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            seconds[checkout].append(float(done.stdout))
    theirs, ours = (np.array(each) for each in seconds.values())
    ratios = theirs / ours
    detail = f"{ratios.min():.2f}-{ratios.max():.2f} in {rounds} rounds; least CPU time "
    detail += f"{theirs.min():.2f} s there, {ours.min():.2f} s here"
    return claim(f"prepare {source}, against", float(np.median(ratios)), 1.0, detail, digits=2)


def preparing(folder: Path, n_records: int) -> list[bool]:
    """Compare `prepare` with a loop of wfdb.rdrecord and resample_poly, 500 Hz to 100 Hz."""
    raw = folder / "raw"
    write_synthetic(raw, SyntheticSettings(n_records=n_records, seed=1))
    headers = sorted(raw.rglob("*.hea"))
    few = headers[:400]
    naive_cpu, naive_wall = best_of(3, lambda: naive_loop(few, folder / "naive.npy"))
    report("naive loop", f"{len(few) / naive_cpu:,.0f} records/s of CPU time")
    met = []
    for n_processes, target in ((1, 5.0), (2, 8.0)):
        cpu, wall = best_of(3, preparation(raw, folder, n_processes))
        seconds, naive_s = (cpu, naive_cpu) if n_processes == 1 else (wall, naive_wall)
        rate = n_records / seconds
        title = f"prepare, {n_processes} process{'es' if n_processes > 1 else ''}"
        met.append(claim(title, rate * naive_s / len(few), target, f"{rate:,.0f} records/s"))
    return met


def preparation(raw: Path, folder: Path, n_processes: int) -> Callable[[], object]:
    """Return what prepares `raw` into a new folder at each call."""
    attempts = count()
    return lambda: prepare(
        "synthetic",
        [raw],
        folder / f"{n_processes}-{next(attempts)}",
        PrepareSettings(),
        n_processes=n_processes,
    )


def naive_loop(headers: Sequence[Path], target: Path) -> None:
    """Do what a user's first script does."""
    import wfdb
    from scipy.signal import resample_poly

    stored = np.zeros((len(headers), 12, 1000), dtype=np.int16)
    for row, header in enumerate(headers):
        record = wfdb.rdrecord(str(header.with_suffix("")))
        microvolts = resample_poly(record.p_signal, 1, 5, axis=0, padtype="line").T[:, :1000] * 1000
        stored[row] = np.rint(microvolts)
    np.save(target, stored)


def decoding(folder: Path) -> bool:
    """Compare the decoding of 100 Hz records with wfdb.rdsamp."""
    import wfdb

    real = Path(os.environ.get("ECGOPT_DATA", "")) / "ptbxl_native" / "records100"
    if not real.is_dir():
        real = folder / "raw100"
        write_synthetic(real, SyntheticSettings(n_records=300, seed=1, sampling_rate_hz=100))
    headers = sorted(real.rglob("*.hea"))[:300]
    naive_s, _ = best_of(3, lambda: [wfdb.rdsamp(str(path.with_suffix(""))) for path in headers])
    ours_s, _ = best_of(3, lambda: [read_wfdb(read_header(path), path.parent) for path in headers])
    rate = f"{len(headers) / ours_s:,.0f} against {len(headers) / naive_s:,.0f} records/s"
    return claim("decode 100 Hz", naive_s / ours_s, 20.0, rate)


def opening(folder: Path) -> bool:
    """Measure how long a prepared set of PTB-XL's size takes to open, and how memory grows."""
    small, large = folder / "small", folder / "large"
    for path, n_records in ((small, 1000), (large, PTBXL_RECORDS)):
        path.mkdir()
        write_prepared(path, n_records)
    open_prepared(small)
    before = resident_mib()
    open_prepared(small)
    small_growth = resident_mib() - before
    before = resident_mib()
    prepared = open_prepared(large)
    growth = resident_mib() - before
    seconds, _ = best_of(5, lambda: open_prepared(large))
    rows = np.random.default_rng(0).choice(PTBXL_RECORDS, 64, replace=False)
    batch_s, _ = best_of(5, lambda: prepared.signals[np.sort(rows)].astype(np.float32))
    size_mib = prepared.signals.nbytes / 2**20
    report(
        "memory of an open set",
        f"{growth:.0f} MiB for {size_mib:.0f} MiB of signals, {small_growth:.0f} MiB for 1,000 "
        f"records; 64 records read in {batch_s * 1e3:.1f} ms",
    )
    met = seconds <= 0.5 and growth < 0.2 * size_mib
    report(f"open {PTBXL_RECORDS:,} records", f"{seconds:.3f} s, target 0.5 s: {verdict(met)}")
    return met


def write_prepared(folder: Path, n_records: int) -> None:
    """Write a prepared set of noise with the writer that preparation uses."""
    noise = np.random.default_rng(0).integers(-1000, 1000, (64, 12, 1000), dtype=np.int16)
    with PreparedWriter(folder, 1000) as writer:
        for number in range(n_records):
            statements = {"NORM": 100.0, "SR": 0.0, "LVOLT": 0.0}
            facts = RecordFacts(
                patient=f"ptbxl-{number}", fold=number % 10 + 1, age_years=60.0, sex="male",
                statements=statements,
            )  # fmt: skip
            stored = Conditioned(
                signal=noise[number % 64], seconds=10.0, was_cut=False, zero_padded_s=0.0,
                padded_samples=0, repaired_samples=0, clipped_samples=0, flat_leads=0,
                saturated_leads=0, derived_leads=0, signal_hash=f"{number:016x}", sketch=(0.0,),
            )  # fmt: skip
            writer.add(Kept(f"{number:05d}", facts, 100.0, stored, ()))
        settings = {"sampling_rate_hz": 100}
        writer.finish({"source": "noise", "fingerprint": f"{n_records:064x}", "settings": settings})


def resident_mib() -> float:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def best_of(n: int, work: Callable[[], object]) -> tuple[float, float]:
    """Return the least CPU time and the least elapsed time of `n` runs, in seconds."""
    times = []
    for _ in range(n):
        cpu_s, wall_s = cpu_time_s(), time.perf_counter()
        work()
        times.append((cpu_time_s() - cpu_s, time.perf_counter() - wall_s))
    return min(cpu for cpu, _ in times), min(wall for _, wall in times)


def cpu_time_s() -> float:
    """Return the CPU time of this process and of its ended children."""
    return time.process_time() + sum(os.times()[2:4])


def claim(what: str, ratio: float, target: float, detail: str, *, digits: int = 1) -> bool:
    """Print one ratio beside its target."""
    met = ratio >= target
    report(what, f"{ratio:.{digits}f} x, target {target:g} x: {verdict(met)} ({detail})")
    return met


def report(what: str, text: str) -> None:
    """Print one line."""
    print(f"{what:<28} {text}", flush=True)


def verdict(met: bool) -> str:
    """Return the word for a target that is met or missed."""
    return "met" if met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
