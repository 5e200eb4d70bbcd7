"""Pruning on a ladder of schedule fractions, so that short and long schedules compare.

Step k (1..10) of a trial is the end of the epoch that completes k tenths of the trial's own
schedule. Trials of different length are then compared at the same point of their cosine.
"""

from collections.abc import Mapping

import optuna

from ecgopt.study_file.tables import PruningSection

LADDER_STEPS = 10


def ladder(n_epochs: int) -> Mapping[int, int]:
    """Return the ladder step that ends with each epoch (counted from 1), where one does.

    A schedule of fewer than ten epochs skips steps; the last epoch is always step 10.
    """
    steps = {epoch: LADDER_STEPS * epoch // n_epochs for epoch in range(1, n_epochs + 1)}
    return {epoch: step for epoch, step in steps.items() if step > steps.get(epoch - 1, 0)}


def build_pruner(section: PruningSection) -> optuna.pruners.BasePruner:
    """Return the pruner of a study; both regimes of a cell get an equal one."""
    if not section.enabled:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=section.startup_trials,
        n_warmup_steps=section.warmup_steps,
        n_min_trials=section.min_trials,
    )
