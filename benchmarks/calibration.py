"""Whether the rule of the verdict keeps its promises, over comparisons with planted truth.

    python -m benchmarks.calibration [--comparisons 1000] [--seed 0]

The rule: run variance moderated over cells and arms and bounded below, overlap paid for, patients'
part added in quadrature, Holm over cells and arms, the margin, one replicate undecided. Prints
Markdown tables of false wins, coverage and power, at fixed numbers of replicates and with looks.
"""

import argparse
from typing import Any

import numpy as np
from planted_truth import PlantedDraws, PlantedTruth, draw
from scipy import special

from ecgopt.analysis.moderation import estimate_prior, mean_variance
from ecgopt.analysis.spending import plan_looks
from ecgopt.analysis.verdict import holm

MARGIN, ALPHA = 0.01, 0.05


class Judged:
    """The estimates of contrasts with their errors, by the proposed rule."""

    def __init__(self, draws: PlantedDraws, truth: PlantedTruth, n_replicates: int) -> None:
        present = draws.replicates[:, :, :n_replicates]
        self.estimates = present.mean(axis=2)
        variances = present.var(axis=2, ddof=1)
        floors = draws.seed_variance.mean(axis=1, keepdims=True) / truth.n_seeds
        freedom = n_replicates - 1
        runs = np.empty_like(variances)
        freedoms = np.empty_like(variances)
        for row, of_row in enumerate(variances):
            prior = estimate_prior(of_row, [freedom] * len(of_row))
            for column, variance in enumerate(of_row):
                posterior, freedoms[row, column] = prior.moderate(
                    variance, freedom, floor=floors[row, 0]
                )
                runs[row, column] = mean_variance(posterior, n_replicates, overlap=truth.overlap)
        self.of_runs, self.freedoms = np.sqrt(runs), freedoms
        self.of_patients = np.sqrt(draws.patient_variance)

    def reach(self, tail: np.ndarray | float) -> np.ndarray:
        """Return half the width of intervals with that one-sided tail."""
        of_runs = self.of_runs * special.stdtrit(self.freedoms, tail)
        return np.asarray(np.hypot(of_runs, self.of_patients * special.stdtrit(399, tail)))

    def p_values(self) -> np.ndarray:
        """Return two-sided p values: the tails at which intervals reach zero, by bisection."""
        low, high = np.full(self.estimates.shape, -30.0), np.full(self.estimates.shape, -0.6932)
        for _ in range(24):
            middle = (low + high) / 2
            far = self.reach(np.exp(middle)) > np.abs(self.estimates)
            low, high = np.where(far, middle, low), np.where(far, high, middle)
        return 2 * np.exp(high)

    def wins(self, level: float) -> np.ndarray:
        """Return where an arm wins, after Holm over all contrasts of a comparison."""
        corrected = np.array([holm(list(row)) for row in self.p_values()])
        return np.asarray((corrected <= level) & (np.abs(self.estimates) > MARGIN))


def fixed(truth: PlantedTruth, n: int, seed: int) -> tuple[float, float, float, float]:
    """Return comparisons with a win, contrasts won, those won without Holm, and coverage."""
    draws = draw(truth, n, np.random.default_rng(seed))
    judged = Judged(draws, truth, truth.n_replicates)
    wins = judged.wins(ALPHA)
    covered = np.abs(judged.estimates - truth.difference) <= judged.reach(ALPHA / 2)
    right = wins & (judged.estimates > 0)
    alone = (judged.estimates > judged.reach(ALPHA / 2)) & (judged.estimates > MARGIN)
    any_win, won, won_alone, within = (
        float(of.mean()) for of in (wins.any(axis=1), right, alone, covered)
    )
    return any_win, won, won_alone, within


def sequential(truth: PlantedTruth, n: int, seed: int) -> tuple[float, float, float]:
    """Return comparisons with a win, contrasts won, and replicates used per contrast."""
    draws = draw(truth, n, np.random.default_rng(seed))
    most = truth.n_replicates
    won = np.zeros(draws.replicates.shape[:2], bool)
    used = np.full(won.shape, most)
    for look in plan_looks(range(2, most + 1), most, alpha=ALPHA):
        new = Judged(draws, truth, look.replicates).wins(look.level) & ~won
        used[new] = look.replicates
        won |= new
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
    "1 cell, one checkpoint of sd 0.010": {"pretraining_sd": 0.010},
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n, seed = options.comparisons, options.seed
    print("| Design | R | false wins | coverage | +0.03 wins | without Holm |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, design in DESIGNS.items():
        some = n if name != "78 cells" else max(n // 5, 1)
        for count in (2, 3, 5, 9, 10) if name in ("1 cell", "8 cells") else (2, 3, 5, 10):
            none = PlantedTruth(n_replicates=count, **design)
            effect = PlantedTruth(n_replicates=count, difference=0.03, **design)
            false, _, _, covered = fixed(none, some, seed)
            _, power, alone, _ = fixed(effect, some, seed + 1)
            row = f"{false:.1%} | {covered:.1%} | {power:.1%} | {alone:.1%}"
            print(f"| {name} | {count} | {row} |", flush=True)
    print("\n| Looks from 2 | false wins | +0.03 wins | replicates used at +0.03 |")
    print("| --- | --- | --- | --- |")
    for cells, most in ((1, 5), (1, 10), (8, 5), (8, 10)):
        false, _, _ = sequential(PlantedTruth(n_cells=cells, n_replicates=most), n, seed)
        effect = PlantedTruth(n_cells=cells, n_replicates=most, difference=0.03)
        _, power, used = sequential(effect, n, seed + 1)
        print(f"| {cells} cells, at most {most} | {false:.1%} | {power:.1%} | {used:.1f} |")


if __name__ == "__main__":
    main()
