"""How far from the best does each sampler end, at equal trials and with 1 or 8 workers?

    python -m benchmarks.search [--seeds 200] [--gp-seeds 20] [--noise 0.008] [--trials 24]

The surfaces are written out below: a smooth one, a ridge between learning rate and epochs, one with
a cliff beyond which training diverges, and one with two regions, where frozen stages need another
rate. A trial's score is the surface's value plus noise; 0.008 is the standard deviation between
final fits of one configuration in the recorded size ladder (0.007 to 0.010 at 100 records or more).
Regret is the surface's maximum minus its value, without noise, at the trial whose score is best.

"free" and plain Optuna learn from whatever has finished: the trials take as long as their epochs,
and 8 workers take the next slot as they come free. With a lag, trial k learns from trials 0 to
k - lag, so the result is the same for any number of workers. Each row is the mean over the same
seeds with a 95 % interval by bootstrap, in thousandths of AUROC.
"""

import argparse
import heapq
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ecgopt.database.optuna.samplers import SeenStudy, slot_sampler
from ecgopt.seeds import seed_for
from ecgopt.study_file.tables import SamplerTable

RATE: Mapping[str, BaseDistribution] = {"learning_rate": FloatDistribution(1e-4, 1e-1, log=True)}
EPOCHS: Mapping[str, BaseDistribution] = {"epochs": IntDistribution(8, 100, log=True)}
STAGES: Mapping[str, BaseDistribution] = {"frozen_stages": IntDistribution(0, 5)}
Values = Mapping[str, float]


def smooth(at: Values) -> float:
    """Return a bowl in log rate that gains with log epochs until it overfits slowly."""
    rate, epochs = math.log10(at["learning_rate"]), math.log10(at["epochs"])
    return 0.90 - 0.05 * (rate + 2.3) ** 2 - 0.06 * (epochs - 1.7) ** 2


def ridge(at: Values) -> float:
    """Return a narrow ridge: the product of rate and epochs matters most."""
    rate, epochs = math.log10(at["learning_rate"]), math.log10(at["epochs"])
    return 0.90 - 0.10 * (rate + epochs + 0.8) ** 2 - 0.02 * (epochs - 1.6) ** 2


def cliff(at: Values) -> float:
    """Return a slope that rises with the rate up to a cliff, where training diverges."""
    rate, epochs = math.log10(at["learning_rate"]), math.log10(at["epochs"])
    edge = -1.4 - 0.3 * (epochs - 1.0)
    return (
        0.55 if rate > edge else 0.90 - 0.06 * (edge - rate - 0.1) ** 2 - 0.04 * (epochs - 1.7) ** 2
    )


def two_regions(at: Values) -> float:
    """Return a surface whose better region has all stages frozen and a ten times higher rate."""
    rate, stages = math.log10(at["learning_rate"]), at["frozen_stages"]
    few = 0.885 - 0.06 * (rate + 3.0) ** 2 - 0.008 * stages
    all_frozen = 0.90 - 0.06 * (rate + 1.6) ** 2 - 0.03 * (5 - stages)
    return max(few, all_frozen, 0.6) - 0.02 * (math.log10(at["epochs"]) - 1.6) ** 2


@dataclass(frozen=True)
class Surface:
    """A search space and the score that each of its points has."""

    name: str
    score: Callable[[Values], float]
    space: Mapping[str, BaseDistribution]

    @cached_property
    def best(self) -> float:
        """The maximum over a fine grid."""
        axes: Mapping[str, Sequence[float]] = {
            "learning_rate": np.geomspace(1e-4, 1e-1, 400).tolist(),
            "epochs": range(8, 101),
            "frozen_stages": range(6),
        }
        names = list(self.space)
        points = product(*(axes[name] for name in names))
        return max(self.score(dict(zip(names, point, strict=True))) for point in points)


SURFACES = (
    Surface("smooth", smooth, {**EPOCHS, **RATE}),
    Surface("ridge", ridge, {**EPOCHS, **RATE}),
    Surface("cliff", cliff, {**EPOCHS, **RATE}),
    Surface("two regions", two_regions, {**EPOCHS, **STAGES, **RATE}),
)
Propose = Callable[[int, Sequence[FrozenTrial], Sequence[FrozenTrial]], dict[str, float]]
"""Returns the parameters of a slot from the finished and the running trials, by slot."""


@dataclass(frozen=True)
class Strategy:
    """A sampler as it is used."""

    name: str
    table: SamplerTable | None
    """None is Optuna's own TPE with its defaults."""
    workers: int = 1
    """Of a strategy that learns from whatever has finished."""

    def proposer(self, surface: Surface, seed: int) -> Propose:
        """Return what proposes the parameters of a slot."""
        study = optuna.create_study(direction="maximize")
        own = optuna.samplers.TPESampler(seed=seed % 2**32)

        def propose(
            slot: int, finished: Sequence[FrozenTrial], running: Sequence[FrozenTrial]
        ) -> dict[str, float]:
            sampler = (
                own
                if self.table is None
                else slot_sampler(self.table, seed, slot, self.table.last_seen(slot))
            )
            trial = create_trial(state=TrialState.WAITING)
            trial.number = slot
            seen = SeenStudy(study, sorted((*finished, *running), key=lambda each: each.number))
            space = sampler.infer_relative_search_space(seen, trial)
            found = dict(sampler.sample_relative(seen, trial, space))
            for name, distribution in surface.space.items():
                if name not in found:
                    found[name] = sampler.sample_independent(seen, trial, name, distribution)
            return found

        study._storage.set_trial_system_attr = lambda *_: None  # type: ignore[method-assign]
        return propose

    def run(self, surface: Surface, seed: int, n_trials: int, noise: float) -> list[FrozenTrial]:
        """Return the trials by slot; each holds its score without noise as `user_attrs`."""
        propose = self.proposer(surface, seed)
        draw = np.random.default_rng(seed_for(seed, "noise"))
        errors = draw.normal(0.0, noise, n_trials)

        def trained(slot: int, parameters: dict[str, float]) -> FrozenTrial:
            true = surface.score(parameters)
            trial = create_trial(
                params=parameters,
                distributions=dict(surface.space),
                value=true + errors[slot],
                user_attrs={"true": true},
            )
            trial.number = slot
            return trial

        if self.table is not None and self.table.lag != "free":
            trials: list[FrozenTrial] = []
            for slot in range(n_trials):
                last = self.table.last_seen(slot)
                seen = [] if last is None else trials[: last + 1]
                tried = [] if last is None else map(_as_running, trials[last + 1 :])
                trials.append(trained(slot, propose(slot, seen, list(tried))))
            return trials
        finished: list[FrozenTrial] = []
        held: list[tuple[float, int, FrozenTrial]] = []
        now = 0.0
        for slot in range(n_trials):
            if len(held) == self.workers:
                now, _, trial = heapq.heappop(held)
                finished.append(trial)
            running = [_as_running(trial) for _, _, trial in held]
            trial = trained(slot, propose(slot, finished, running))
            heapq.heappush(held, (now + trial.params["epochs"], slot, trial))
        return sorted([*finished, *(trial for _, _, trial in held)], key=lambda each: each.number)


def _as_running(trial: FrozenTrial) -> FrozenTrial:
    running = create_trial(
        state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
    )
    running.number = trial.number
    return running


def regret(surface: Surface, trials: Sequence[FrozenTrial]) -> float:
    """Return what the trial with the best score lacks of the surface's maximum."""
    winner = max(trials, key=lambda trial: trial.value or 0.0)
    return surface.best - float(winner.user_attrs["true"])


def strategies() -> list[tuple[Strategy, bool]]:
    """Return what is compared, each with whether it is slow."""

    def table(name: str, lag: object, startup: int = 8) -> SamplerTable:
        return SamplerTable.model_validate({"name": name, "lag": lag, "startup_trials": startup})

    return [
        (Strategy("random", table("random", 1)), False),
        (Strategy("qmc", table("qmc", 1)), False),
        (Strategy("plain Optuna TPE, 1 worker", None), False),
        (Strategy("plain Optuna TPE, 8 workers", None, 8), False),
        (Strategy("tpe free, 8 workers", table("tpe", "free"), 8), False),
        (Strategy("tpe, lag 4", table("tpe", 4)), False),
        (Strategy("tpe, lag 8", table("tpe", 8)), False),
        (Strategy("gp, lag 4", table("gp", 4)), True),
        (Strategy("gp, lag 8", table("gp", 8)), True),
    ]


def interval(values: Sequence[float]) -> str:
    """Return mean and 95 % bootstrap interval, in thousandths."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{1000 * np.mean(values):.1f} ({1000 * low:.1f} to {1000 * high:.1f})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--gp-seeds", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.008)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--only", default="", help="strategies whose name holds this text")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    n_trials = arguments.trials
    half = n_trials // 2
    print(f"regret after {half} / {n_trials} trials, thousandths of AUROC, noise {arguments.noise}")
    print(f"| | {' | '.join(surface.name for surface in SURFACES)} | ms per proposal | seeds |")
    print("|---" * (3 + len(SURFACES)) + "|")
    for strategy, is_slow in strategies():
        if arguments.only not in strategy.name:
            continue
        n_seeds = arguments.gp_seeds if is_slow else arguments.seeds
        cells = []
        begun = time.process_time()
        for surface in SURFACES:
            runs = [
                strategy.run(surface, seed_for("search", seed), n_trials, arguments.noise)
                for seed in range(n_seeds)
            ]
            cells.append(
                " / ".join(
                    interval([regret(surface, run[:n]) for run in runs]) for n in (half, n_trials)
                )
            )
        cost = 1000 * (time.process_time() - begun) / (n_seeds * n_trials * len(SURFACES))
        print(f"| {strategy.name} | {' | '.join(cells)} | {cost:.0f} | {n_seeds} |", flush=True)


if __name__ == "__main__":
    main()
