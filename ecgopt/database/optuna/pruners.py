"""The pruner: trials end below a percentile of the complete ones, which rises from rung to rung."""

import optuna
from optuna.pruners import PercentilePruner
from optuna.trial import FrozenTrial

from ecgopt.study_file.tables import PruningTable


class RisingPercentilePruner(optuna.pruners.BasePruner):
    """Optuna's percentile pruner with a percentile that grows as reports say more about the end."""

    def __init__(self, section: PruningTable) -> None:
        """Prune as the study file says."""
        self._section = section

    def percentile(self, step: int) -> float:
        """Return the percentile below which a trial is pruned at a rung; 0 is not at all."""
        section = self._section
        risen = step - section.warmup_steps
        if risen < 0:
            return 0.0
        if risen >= section.rise_steps:
            return section.percentile
        return section.percentile * risen / section.rise_steps

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is too weak at its last rung."""
        below = self.percentile(trial.last_step or 0)
        if below == 0.0:
            return False
        same = PercentilePruner(
            100.0 - below,  # Optuna names the share that stays
            n_startup_trials=self._section.startup_trials,
            n_min_trials=self._section.min_trials,
        )
        return bool(same.prune(study, trial))


def build_pruner(section: PruningTable) -> optuna.pruners.BasePruner:
    """Return the pruner of a study; all arms of a cell get an equal one."""
    # Halving compares the trials of a bracket when they have paused: see `jobs.pruning.promoted`.
    asks = section.enabled and section.kind == "percentile"
    return RisingPercentilePruner(section) if asks else optuna.pruners.NopPruner()
