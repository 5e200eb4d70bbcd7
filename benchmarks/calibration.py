"""Whether the rule of the verdict keeps its promises, over comparisons with planted truth.

    python -m benchmarks.calibration [--comparisons 1000] [--seed 0]

The rule is the report's own, `decide_each`. Prints Markdown tables of false wins, coverage and
power, at fixed numbers of replicates and with looks.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from planted_truth import PlantedDraws, PlantedTruth, draw

from ecgopt.analysis.interval import Estimate, Variances
from ecgopt.analysis.power import MOST_REPLICATES, Design, chances, replicates_needed
from ecgopt.analysis.spending import Look, looks_so_far
from ecgopt.analysis.verdict import Decision, Rules, Verdict, decide_each

MARGIN, ALPHA = 0.01, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Per comparison and contrast, whether it was decided so."""

    higher: np.ndarray
    wins: np.ndarray
    equivalent: np.ndarray
    covered: np.ndarray


def decide(
    draws: PlantedDraws,
    truth: PlantedTruth,
    look: Look,
    settled: list[list[Decision | None]] | None = None,
) -> Decided:
    """Return what the rule of the report says of every comparison at a look.

    Args:
        draws: The comparisons.
        truth: What they were drawn from.
        look: With its replicates and what it may spend.
        settled: What earlier looks decided, per comparison and contrast.
    """
    n_replicates = look.replicates
    present = draws.replicates[:, :, :n_replicates]
    rules = Rules(margin=MARGIN, confidence=1 - ALPHA, look=look)
    found = decide_each(
        [
            [
                Estimate(
                    value=float(runs.mean()),
                    n_replicates=n_replicates,
                    n_units=n_replicates,
                    run_variance=float(runs.var(ddof=1)),
                    explained=float(of_seeds) / truth.n_seeds,
                    patient_variance=float(of_patients),
                    n_patients=400,
                    overlap=truth.overlap,
                    variances=Variances(seeds=None, replicates=None, patients=None),
                )
                for runs, of_seeds, of_patients in zip(*of_comparison, strict=True)
            ]
            for of_comparison in zip(
                present, draws.seed_variance, draws.patient_variance, strict=True
            )
        ],
        rules,
        settled=settled or (),
    )

    def each(read: Callable[[Verdict], object]) -> np.ndarray:
        return np.array([[read(verdict) for verdict in verdicts] for verdicts in found])

    decisions = each(lambda verdict: str(verdict.decision))
    return Decided(
        higher=decisions == "higher",
        wins=np.isin(decisions, ("higher", "lower")),
        equivalent=decisions == "equivalent",
        covered=each(
            lambda verdict: verdict.interval.low <= truth.difference <= verdict.interval.high
        ),
    )


def fixed(truth: PlantedTruth, n: int, seed: int) -> tuple[float, float, float]:
    """Return comparisons with a win, contrasts won, and coverage."""
    draws = draw(truth, n, np.random.default_rng(seed))
    found = decide(draws, truth, Look(replicates=truth.n_replicates, level=ALPHA, spent=ALPHA))
    any_win, won, covered = found.wins.any(axis=1), found.higher, found.covered
    return float(any_win.mean()), float(won.mean()), float(covered.mean())


def planned(n_replicates: int, n_cells: int, n_pilots: int) -> tuple[float, float, float]:
    """Return what pilots plan for 80 % power at +0.03: real power, its lowest, and replicates.

    Pilots whose plan is beyond `MOST_REPLICATES` count with that number.
    """
    true = Variances(seeds=0.010, replicates=0.015, patients=0.006)
    rules = Rules.of_one_look(margin=MARGIN, confidence=1 - ALPHA)
    random = np.random.default_rng(n_replicates)
    freedom = n_cells * (n_replicates - 1)
    design = Design(overlaps=[0.0] * n_cells, n_seeds=2, n_patients=1500, variances=true)
    powers, sizes = [], []
    for _ in range(n_pilots):
        factor = float(np.sqrt(random.chisquare(freedom) / freedom))
        found = Variances(seeds=0.010, replicates=0.015 * factor, patients=0.006)
        pilot = replace(design, variances=found, freedom=freedom)
        sizes.append(replicates_needed(0.03, pilot, rules) or MOST_REPLICATES)
        powers.append(chances(0.03, design, rules, sizes[-1]).higher_wins)
    return float(np.mean(powers)), min(powers), float(np.mean(sizes))


def sequential(truth: PlantedTruth, n: int, seed: int) -> tuple[float, float, float]:
    """Return comparisons with a win, contrasts won, and replicates used per contrast.

    Contrasts that are decided get no more replicates.
    """
    draws = draw(truth, n, np.random.default_rng(seed))
    shape = draws.replicates.shape[:2]
    won, decided = np.zeros(shape, bool), np.zeros(shape, bool)
    used = np.full(shape, truth.n_replicates)
    settled: list[list[Decision | None]] = [[None] * shape[1] for _ in range(n)]
    counts = range(2, truth.n_replicates + 1)
    for look in looks_so_far(counts, truth.n_replicates, alpha=ALPHA, n_tests=shape[1]):
        found = decide(draws, truth, look, settled)
        new = (found.wins | found.equivalent) & ~decided
        for place in zip(*np.nonzero(new), strict=True):
            settled[place[0]][place[1]] = (
                Decision.HIGHER if found.wins[place] else Decision.EQUIVALENT
            )
        used[new] = look.replicates
        won |= new & found.wins
        decided |= new
    return float(won.any(axis=1).mean()), float(won.mean()), float(used.mean())


DESIGNS: dict[str, dict[str, Any]] = {
    "1 cell": {},
    "8 cells": {"n_cells": 8},
    "78 cells": {"n_cells": 78},
    "1 cell, 7 arms": {"n_arms": 7},
    "8 cells, 3 arms": {"n_cells": 8, "n_arms": 3},
    "8 cells, 1 seed": {"n_cells": 8, "n_seeds": 1},
    "8 cells, 5 seeds": {"n_cells": 8, "n_seeds": 5},
    "8 cells, heavy tails": {"n_cells": 8, "heavy_tails": True},
    "8 cells, n/N 0.33": {"n_cells": 8, "overlap": 0.33},
    "8 cells, n/N 0.7": {"n_cells": 8, "overlap": 0.7},
    "1 cell, n/N 0.7": {"overlap": 0.7},
    "8 cells, unequal spreads": {"n_cells": 8, "unequal": True},
    "1 cell, one checkpoint of sd 0.010": {"pretraining_sd": 0.010},
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n, seed = options.comparisons, options.seed
    print("| Design | R | false wins | coverage | +0.03 wins |")
    print("| --- | --- | --- | --- | --- |")
    for name, design in DESIGNS.items():
        some = n if name != "78 cells" else max(n // 5, 1)
        for count in (2, 3, 5, 9, 10) if name in ("1 cell", "8 cells") else (2, 3, 5, 10):
            none = PlantedTruth(n_replicates=count, **design)
            effect = PlantedTruth(n_replicates=count, difference=0.03, **design)
            false, _, covered = fixed(none, some, seed)
            _, power, _ = fixed(effect, some, seed + 1)
            row = f"{false:.1%} | {covered:.1%} | {power:.1%}"
            print(f"| {name} | {count} | {row} |", flush=True)
    print("\n| Looks from 2 | false wins | +0.03 wins | replicates used at +0.03 |")
    print("| --- | --- | --- | --- |")
    for cells, most in ((1, 5), (1, 10), (8, 5), (8, 10), (78, 10)):
        some = n if cells < 78 else max(n // 10, 1)
        false, _, _ = sequential(PlantedTruth(n_cells=cells, n_replicates=most), some, seed)
        effect = PlantedTruth(n_cells=cells, n_replicates=most, difference=0.03)
        _, power, used = sequential(effect, some, seed + 1)
        row = f"{false:.1%} | {power:.1%} | {used:.1f}"
        print(f"| {cells} cells, at most {most} | {row} |", flush=True)
    print("\n| Pilot | real power of its plan | least | replicates planned |")
    print("| --- | --- | --- | --- |")
    for count, cells in ((2, 1), (3, 1), (5, 1), (2, 8), (3, 8)):
        power, least, size = planned(count, cells, max(n // 25, 1))
        print(
            f"| {cells} cells, R = {count} | {power:.0%} | {least:.0%} | {size:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
