"""Whether verdicts and intervals keep their promises, over many simulated studies.

    python -m benchmarks.calibration [--studies 4000] [--seed 0]

Every study has test patients, labels, scores, replicates and seeds of its own, and is judged by
the same code as a real one. Printed per design: how often an arm wins without any true difference
(nominal: at most 5 %), how often a true +0.03 wins, how often the 95 % interval covers the truth,
and for comparison the coverage of a t interval with Satterthwaite's degrees of freedom.
"""

import argparse
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats
from simulated_studies import Truth, calibrate, simulate

from ecgopt.analysis.interval import Interval, Variances
from ecgopt.analysis.power import Rules, replicates_needed

SPREADS: Mapping[str, Mapping[str, Any]] = {
    "runs differ little": {"replicate_spread": 0.02, "seed_spread": 0.02},
    "runs differ": {"replicate_spread": 0.05, "seed_spread": 0.04},
    "runs differ much": {"replicate_spread": 0.20, "seed_spread": 0.05},
}
REPLICATES = (2, 3, 5, 10)
N_PATIENTS = 400


def satterthwaite_covers(interval: Interval, truth: float) -> bool:
    """Tell whether the narrower, more usual interval covers the truth."""
    error = interval.error
    of_runs = error.run_variance / error.n_units
    total = of_runs + error.patient_variance
    freedom = total**2 / (
        of_runs**2 / (error.n_units - 1) + error.patient_variance**2 / (error.n_patients - 1)
    )
    half = math.sqrt(total) * stats.t.ppf((1 + interval.confidence) / 2, freedom)
    return bool(abs(interval.estimate - truth) <= half)


def satterthwaite_coverage(truth: Truth, n_studies: int, seed: int) -> float:
    """Return that interval's coverage."""
    random = np.random.default_rng(seed)
    covered = [
        satterthwaite_covers(simulate(truth, random), truth.difference) for _ in range(n_studies)
    ]
    return float(np.mean(covered))


def planned(spreads: Mapping[str, Any]) -> int | None:
    """Return the replicates that a pilot of 60 studies plans for a true difference of 0.03."""
    random = np.random.default_rng(0)
    pilots = [simulate(Truth(n_patients=N_PATIENTS, **spreads), random) for _ in range(60)]
    seeds, replicates, patients = (
        math.sqrt(np.mean([getattr(pilot.variances, part) ** 2 for pilot in pilots]))
        for part in ("seeds", "replicates", "patients")
    )
    return replicates_needed(
        0.03,
        Variances(seeds=seeds, replicates=replicates, patients=patients),
        Rules(margin=0.01, confidence=0.95),
        n_seeds=2,
        n_patients=N_PATIENTS,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    print(f"{options.studies} studies per row; {N_PATIENTS} test patients, 2 seeds, margin 0.01")
    print(f"{'design':22} {'R':>4} {'false wins':>11} {'+0.03 wins':>11} "
          f"{'coverage':>9} {'Satterth.':>10}")  # fmt: skip
    for name, spreads in SPREADS.items():
        needed = planned(spreads)
        for n_replicates in sorted({*REPLICATES, *([needed] if needed else [])}):
            none, some = (
                Truth(
                    difference=difference,
                    n_replicates=n_replicates,
                    n_patients=N_PATIENTS,
                    **spreads,
                )
                for difference in (0.0, 0.03)
            )
            null = calibrate(none, options.studies, options.seed)
            effect = calibrate(some, options.studies, options.seed + 1)
            usual = satterthwaite_coverage(none, options.studies, options.seed + 2)
            mark = "*" if n_replicates == needed else " "
            print(
                f"{name:22} {n_replicates:3}{mark} "
                f"{null.share('higher', 'lower'):11.1%} "
                f"{effect.share('higher'):11.1%} "
                f"{(null.coverage + effect.coverage) / 2:9.1%} {usual:10.1%}",
                flush=True,
            )
    print(f"* planned for 80 % power at +0.03.  {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
