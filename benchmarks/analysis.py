"""How fast the analysis is: the bootstrap against a scikit-learn loop, and a large report.

    python -m benchmarks.analysis [bootstrap|report|all]

The bootstrap runs on the PTB-XL benchmark's published predictions (ECGOPT_DATA), or on invented
ones of the same shape. The report is of invented evidence with 100 cells and 5,000 trials.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_REPLICATES = 1000
N_LOOPED = 8
"""Resamples that the loop is timed on; the rest is extrapolated."""


def load_predictions() -> tuple[np.ndarray, np.ndarray, str]:
    """Return labels, scores and where they come from."""
    folder = Path(os.environ.get("ECGOPT_DATA", "../shared/data")) / "results/helme_ptbxl_exp0"
    if folder.is_dir():
        labels = np.load(folder / "data/y_test.npy", allow_pickle=True).astype(bool)
        path = folder / "models/fastai_xresnet1d101/y_test_pred.npy"
        return labels, np.load(path, allow_pickle=True).astype(np.float64), "PTB-XL benchmark"
    random = np.random.default_rng(0)
    labels = random.random((2203, 71)) < random.uniform(0.002, 0.4, 71)
    return labels, random.normal(size=labels.shape) + labels, "invented"


def loop_macro_auroc(labels: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> float:
    """Return the macro AUROC of one resample as one would write it with scikit-learn."""
    from sklearn.metrics import roc_auc_score

    return float(
        np.mean(
            [
                roc_auc_score(labels[rows, label], scores[rows, label])
                for label in range(labels.shape[1])
                if 0 < labels[rows, label].sum() < len(rows)
            ]
        )
    )


def compare_bootstrap() -> None:
    """Print the time of both and their largest difference."""
    from ecgopt.analysis.bootstrap import bootstrap_macro_auroc, draw_counts

    labels, scores, origin = load_predictions()
    counts = draw_counts(len(labels), N_REPLICATES, np.random.default_rng(0))
    loop_macro_auroc(labels, scores, np.arange(len(labels)))  # imports and warms up
    times, largest = [], 0.0
    started = time.perf_counter()
    fast = bootstrap_macro_auroc(labels, scores, counts)
    times.append(time.perf_counter() - started)
    looped = 0.0
    for index in range(N_LOOPED):
        rows = np.repeat(np.arange(len(labels)), counts[index])
        started = time.perf_counter()
        slow = loop_macro_auroc(labels, scores, rows)
        looped += time.perf_counter() - started
        largest = max(largest, abs(slow - fast[index]))
        # Interleaved, so that load on the machine slows both alike.
        started = time.perf_counter()
        bootstrap_macro_auroc(labels, scores, counts)
        times.append(time.perf_counter() - started)
    loop = looped / N_LOOPED * N_REPLICATES
    own = float(np.median(times))
    print(
        f"bootstrap of {N_REPLICATES} replicates, {labels.shape[0]} x {labels.shape[1]} ({origin})"
    )
    print(f"  scikit-learn loop {loop:.1f} s (from {N_LOOPED}), own {own:.2f} s: {loop / own:.0f}x")
    print(f"  largest difference {largest:.1e}")


def time_report() -> None:
    """Print the time and size of a large report."""
    from fakes_evidence import World, invent

    from ecgopt.analysis.conclude import conclude
    from ecgopt.report.write import write_report

    world = World(
        upstreams=("georgia", "cpsc2018"),
        downstreams=("ptbxl", "ptb", "code_test", "chapman", "ningbo"),
        models=("resnet1d18", "gru"),
        train_sizes=(200, 500, 1000, 4000, 12000),
        replicates=3,
        trials=12,
        n_patients=1000,
    )
    with tempfile.TemporaryDirectory() as name:
        workspace, out = Path(name) / "workspace", Path(name) / "report"
        evidence = invent(world, workspace)
        n_trials = sum(len(study.trials) for study in evidence.studies)
        started, cpu = time.perf_counter(), time.process_time()
        conclusions = conclude(evidence, workspace)
        concluded = time.perf_counter() - started
        paths = write_report(conclusions, out)
        total, busy = time.perf_counter() - started, time.process_time() - cpu
        size = paths.html.stat().st_size / 1e6
        print(
            f"report of {len(evidence.comparison.cells)} cells, {n_trials:,} trials, "
            f"{len(evidence.finals):,} final fits"
        )
        print(
            f"  {total:.1f} s, {busy:.1f} s of them on the CPU ({concluded:.1f} s conclusions), "
            f"HTML {size:.1f} MB"
        )


def main() -> None:
    """Run what the command line names."""
    what = sys.argv[1] if len(sys.argv) > 1 else "all"
    if what in ("bootstrap", "all"):
        compare_bootstrap()
    if what in ("report", "all"):
        time_report()


if __name__ == "__main__":
    main()
