"""How often does pruning end the trial that would have won, and what does it save?

    python -m benchmarks.pruning [--orders 400]

Replays the recorded curves (recorded_curves.csv) in random orders through the rule of production:
a percentile of the complete trials of the study so far, which may rise from rung to rung. Each
study is one training size, arm and replicate of the size ladder; its trials come one after another,
so the pruner sees as much as it ever can.

Only trials that ran to their end are recorded. Weaker ones were pruned in the run that they come
from, so what a rule saves here is less than what it saves in a study.
"""

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ecgopt.database.optuna.pruners import RisingPercentilePruner
from ecgopt.study_file.tables import PruningTable

LADDER_STEPS = 10


@dataclass(frozen=True)
class Curve:
    """One recorded trial."""

    n_epochs: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Rule:
    """The rule of a study file."""

    table: PruningTable

    def __str__(self) -> str:
        table = self.table
        rises = f"{table.warmup_steps} to {table.warmup_steps + table.rise_steps}"
        first = rises if table.rise_steps else f"{table.warmup_steps}"
        return f"{table.percentile:g} % | {first} | {table.startup_trials}"

    @cached_property
    def percentiles(self) -> Sequence[float]:
        """The percentile at each rung, of production."""
        pruner = RisingPercentilePruner(self.table)
        return [pruner.percentile(step) for step in range(LADDER_STEPS + 1)]

    def ends_at(self, trial: Curve, complete: Sequence[Curve]) -> int:
        """Return the rung after which the trial ends; 10 where nothing prunes it."""
        if len(complete) < max(self.table.startup_trials, self.table.min_trials):
            return LADDER_STEPS
        best = -math.inf
        for step in range(1, LADDER_STEPS):
            best = max(best, trial.values[step - 1])
            if below := self.percentiles[step]:
                others = sorted(other.values[step - 1] for other in complete)
                if best < percentile(others, below):
                    return step
        return LADDER_STEPS


@dataclass
class Tally:
    """What a rule did in the orders of some studies."""

    orders: int = 0
    false: int = 0
    losses: list[float] = field(default_factory=list)
    epochs: float = 0.0
    saved: float = 0.0

    def add(self, study: Sequence[Curve], kept: Sequence[int], epochs: float) -> None:
        """Count one order: which trials were complete, and the epochs trained."""
        finals = [curve.values[-1] for curve in study]
        lost = max(finals) - max(finals[k] for k in kept)
        whole = sum(curve.n_epochs for curve in study)
        self.orders += 1
        self.false += lost > 0
        self.losses.append(lost)
        self.epochs += whole
        self.saved += whole - epochs


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of ordered values, linearly interpolated as NumPy does."""
    place = share / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def studies() -> Mapping[tuple[int, str, int], list[Curve]]:
    """Return the recorded curves by training size, arm and replicate."""
    found: dict[tuple[int, str, int], list[Curve]] = defaultdict(list)
    with (Path(__file__).parent / "recorded_curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            values = tuple(float(row[f"step{k}"]) for k in range(1, LADDER_STEPS + 1))
            place = (int(row["n_train"]), row["regime"], int(row["replicate"]))
            found[place].append(Curve(int(row["epochs"]), values))
    return found


def pooled(
    recorded: Mapping[tuple[int, str, int], list[Curve]],
) -> dict[tuple[int, str], list[Curve]]:
    """Return the curves of all replicates together, shifted to one mean of the last rung.

    A study then has as many trials as a budget of 24 gives.
    """
    pools: dict[tuple[int, str], list[Curve]] = defaultdict(list)
    for (size, regime, _), curves in recorded.items():
        level = float(np.mean([curve.values[-1] for curve in curves]))
        pools[size, regime] += [
            Curve(c.n_epochs, tuple(value - level for value in c.values)) for c in curves
        ]
    return pools


def replay(rule: Rule, study: Sequence[Curve], order: Sequence[int]) -> tuple[list[int], float]:
    """Return which trials were complete and how many epochs were trained."""
    complete: list[Curve] = []
    kept, epochs = [], 0.0
    for k in order:
        step = rule.ends_at(study[k], complete)
        epochs += study[k].n_epochs * step / LADDER_STEPS
        if step == LADDER_STEPS:
            complete.append(study[k])
            kept.append(k)
    return kept, epochs


def tally(rule: Rule, groups: Mapping[str, Sequence[Sequence[Curve]]], n_orders: int) -> str:
    """Return a table's row: each arm's share of orders with the best pruned, losses and savings."""
    cells, all_losses, worst, saved, epochs = [], [], 0.0, 0.0, 0.0
    false = orders = 0
    for curves_of in groups.values():
        arm = Tally()
        for number, study in enumerate(curves_of):
            draw = np.random.default_rng(number)
            one = Tally()
            for _ in range(n_orders):
                order = draw.permutation(len(study))[:24]
                chosen = [study[k] for k in order]
                kept, trained = replay(rule, chosen, range(len(chosen)))
                for each in (one, arm):
                    each.add(chosen, kept, trained)
            worst = max(worst, float(np.mean(one.losses)))
        false, orders = false + arm.false, orders + arm.orders
        saved, epochs = saved + arm.saved, epochs + arm.epochs
        all_losses += arm.losses
        cells.append(f"{100 * arm.false / arm.orders:.1f} %")
    return (
        f"| {rule} | {100 * false / orders:.1f} % | {' | '.join(cells)} | "
        f"{np.mean(all_losses):.4f} | {worst:.4f} | {100 * saved / epochs:.0f} % |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=300)
    arguments = parser.parse_args()
    recorded = studies()
    arms = sorted({regime for _, regime, _ in recorded})
    alone = {arm: [c for (_, name, _), c in recorded.items() if name == arm] for arm in arms}
    pools = pooled(recorded)
    together = {arm: [c for (_, name), c in pools.items() if name == arm] for arm in arms}
    rules = [
        Rule(PruningTable(percentile=share, warmup_steps=first, rise_steps=rise))
        for share, first, rise in (
            *((50, first, 0) for first in (3, 4, 5, 6, 7)),
            *((25, first, 0) for first in (3, 4, 5, 6)),
            (50, 1, 8), (50, 2, 6), (50, 3, 4), (50, 3, 5), (50, 3, 6), (50, 4, 4),
        )
    ]  # fmt: skip
    for title, groups in (
        ("studies as recorded", alone),
        ("24 trials, replicates pooled", together),
    ):
        print(f"\n{title}\n| prunes below | from rung | complete trials | best pruned | "
              f"{' | '.join(arms)} | lost | worst study | epochs saved |")  # fmt: skip
        print("|---" * (7 + len(arms)) + "|")
        for rule in rules:
            print(tally(rule, groups, arguments.orders), flush=True)


if __name__ == "__main__":
    main()
