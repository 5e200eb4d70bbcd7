"""When a trial is pruned, and how rarely that ends the trial that would have won."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from benchmarks.pruning import Rule, replay, studies
from ecgopt.database.optuna.pruners import RisingPercentilePruner, build_pruner
from ecgopt.study_file.tables import PruningTable

VALUES = (0.5, 0.6, 0.7, 0.8, 0.9)


@pytest.fixture(scope="module")
def five_complete():
    """Return a study with five complete trials, each with the same report at every rung."""
    study = optuna.create_study(direction="maximize")
    for value in VALUES:
        reports = dict.fromkeys(range(1, 11), value)
        study.add_trial(create_trial(value=value, intermediate_values=reports))
    return study


def running(step, value):
    """Return a running trial with the same report at every rung so far."""
    reports = dict.fromkeys(range(1, step + 1), value)
    return create_trial(state=TrialState.RUNNING, intermediate_values=reports)


@pytest.mark.parametrize(
    ("step", "value", "is_pruned"),
    [
        (3, 0.0, False),  # the percentile begins to rise
        (4, 0.53, True),  # 10 % of the way through five values is 0.54
        (4, 0.55, False),
        (5, 0.57, True),  # 20 %
        (5, 0.59, False),
        (6, 0.61, True),  # 30 %
        (6, 0.63, False),
        (8, 0.69, True),  # the median, from here on
        (8, 0.71, False),
        (9, 0.69, True),
    ],
)
def test_the_percentile_rises_to_the_median(five_complete, step, value, is_pruned):
    pruner = build_pruner(PruningTable())
    assert pruner.prune(five_complete, running(step, value)) == is_pruned


@pytest.mark.parametrize("step", range(1, 10))
@pytest.mark.parametrize("value", [0.45, 0.65, 0.75, 0.95])
def test_without_a_rise_it_is_optunas_median_pruner(five_complete, step, value):
    table = PruningTable(warmup_steps=2, rise_steps=0)
    same = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2, n_min_trials=4)
    trial = running(step, value)
    assert build_pruner(table).prune(five_complete, trial) == same.prune(five_complete, trial)


def test_nothing_is_pruned_before_enough_trials_are_complete(five_complete):
    assert not build_pruner(PruningTable(startup_trials=6)).prune(five_complete, running(9, 0.0))
    assert not build_pruner(PruningTable(min_trials=6)).prune(five_complete, running(9, 0.0))
    assert not build_pruner(PruningTable(enabled=False)).prune(five_complete, running(9, 0.0))


def share_of_best_pruned(rule, regime, n_orders=100):
    """Return how often the recorded trials of an arm lose their best in a random order."""
    lost = []
    for (_, name, _), curves in studies().items():
        if name != regime:
            continue
        draw = np.random.default_rng(len(lost))
        final = [curve.values[-1] for curve in curves]
        orders = (draw.permutation(len(curves)) for _ in range(n_orders))
        kept = [replay(rule, curves, order)[0] for order in orders]
        lost += [max(final[k] for k in ones) < max(final) for ones in kept]
    return np.mean(lost)


@pytest.mark.parametrize("regime", ["scratch", "fine_tune"])
def test_the_default_prunes_the_best_recorded_trial_in_at_most_2_percent_of_orders(regime):
    assert share_of_best_pruned(Rule(PruningTable()), regime) <= 0.02
    assert share_of_best_pruned(Rule(PruningTable(rise_steps=0)), regime, 20) > 0.05


def test_the_replay_of_the_benchmark_ends_trials_where_the_pruner_does():
    [curves] = [found for place, found in studies().items() if place == (50, "scratch", 1)]
    table = PruningTable(warmup_steps=1, rise_steps=3)
    study = optuna.create_study(direction="maximize")
    kept = []
    for number, curve in enumerate(curves):
        reports = {}
        for step, value in enumerate(curve.values, start=1):
            reports[step] = value
            trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(reports))
            if step < 10 and RisingPercentilePruner(table).prune(study, trial):
                break
        else:
            kept.append(number)
            study.add_trial(create_trial(value=value, intermediate_values=reports))
    assert kept == replay(Rule(table), curves, range(len(curves)))[0]
    assert 4 < len(kept) < len(curves)
