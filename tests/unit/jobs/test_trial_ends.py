"""How a trial ends, also when its first owner died between two writes."""

import optuna
import pytest

from ecgopt.errors import TrialDiverged
from ecgopt.jobs.pruning import TrialRules, run_trial
from ecgopt.jobs.resumption import ResumableEpochs
from ecgopt.training.metrics import MacroAuroc
from ecgopt.training.run import EpochResult

optuna.logging.set_verbosity(optuna.logging.WARNING)
RULES = TrialRules(may_prune=True, seconds_limit=None, seconds_spent=lambda: 0.0)


class ScriptedRun:
    """Scores that are known beforehand, one per epoch."""

    def __init__(self, scores):
        self.scores = scores
        self.n_done = 0

    def epochs(self):
        while self.n_done < len(self.scores):
            self.n_done += 1
            yield epoch(self.n_done, self.scores[self.n_done - 1])

    def state(self):
        return {}, {"n_done": self.n_done}

    def restore(self, tensors, metadata):
        self.n_done = metadata["n_done"]


class PlainReports:
    """Reports of a trial that no other worker can take."""

    def __init__(self, trial):
        self.trial = trial
        self.should_prune = trial.should_prune

    @property
    def values(self):
        return self.trial.storage.get_trial(self.trial._trial_id).intermediate_values

    def report(self, step, value):
        self.trial.report(value, step)


def epoch(number, score):
    auroc = MacroAuroc(value=score, per_label=[score], left_out=())
    return EpochResult(
        epoch=number,
        train_loss=1.0,
        validation=auroc,
        validation_loss=1.0,
        n_samples=1,
        seconds=1.0,
    )


def trial_beside(*finished, pruner=None):
    """Return a new trial of a study that holds completed trials of these reports."""
    study = optuna.create_study(
        direction="maximize", pruner=pruner or optuna.pruners.MedianPruner(n_startup_trials=1)
    )
    for scores in finished:
        other = study.ask()
        for step, score in enumerate(scores, 1):
            other.report(score, step)
        study.tell(other, scores[-1])
    return study.ask()


GOOD = [0.9] * 10
SCORES = [0.5 + 0.01 * n for n in range(1, 11)]


def test_the_value_is_that_of_the_last_epoch():
    trial = trial_beside()
    end = run_trial(
        PlainReports(trial), iter(epoch(n, s) for n, s in enumerate(SCORES, 1)), 10, RULES
    )
    assert (end.cause, end.value) == ("done", SCORES[-1])


def test_a_trial_below_the_others_is_pruned():
    end = run_trial(PlainReports(trial_beside(GOOD)), ScriptedRun(SCORES).epochs(), 10, RULES)
    assert (end.cause, end.value) == ("pruned", None)


def test_a_diverged_trial_says_so():
    def diverging():
        yield epoch(1, 0.5)
        raise TrialDiverged("loss is nan")

    end = run_trial(PlainReports(trial_beside()), diverging(), 10, RULES)
    assert (end.cause, end.detail) == ("diverged", "loss is nan")


def test_a_trial_whose_owner_died_after_the_last_report_is_complete_and_not_pruned():
    trial = trial_beside(GOOD)
    for step, score in enumerate(SCORES, 1):
        trial.report(score, step)
    end = run_trial(PlainReports(trial), iter(()), 10, RULES)
    assert (end.cause, end.value) == ("done", SCORES[-1])


def within(seconds_limit, epochs):
    return TrialRules(
        may_prune=True, seconds_limit=seconds_limit, seconds_spent=lambda: epochs.seconds
    )


def test_a_trial_ends_after_the_epoch_that_crossed_its_time_limit(tmp_path):
    epochs = ResumableEpochs(ScriptedRun(SCORES), tmp_path, checkpoint_seconds=0.0)
    end = run_trial(PlainReports(trial_beside()), iter(epochs), 10, within(3.5, epochs))
    assert (end.cause, end.value, end.detail) == ("timed_out", None, "over 3.5 s")
    assert epochs.epochs_done == 4


def test_the_seconds_of_an_earlier_owner_count_towards_the_time_limit(tmp_path):
    trial = trial_beside()
    first = iter(ResumableEpochs(ScriptedRun(SCORES), tmp_path, checkpoint_seconds=0.0))
    for step in (1, 2, 3):  # the third epoch is lost with its owner
        trial.report(next(first).validation_macro_auroc, step)
    adopted = ResumableEpochs(ScriptedRun(SCORES), tmp_path, checkpoint_seconds=0.0)
    end = run_trial(PlainReports(trial), iter(adopted), 10, within(3.5, adopted))
    assert end.cause == "timed_out"
    assert adopted.epochs_done == 4


def test_a_trial_that_crosses_its_time_limit_in_the_last_epoch_is_complete(tmp_path):
    epochs = ResumableEpochs(ScriptedRun(SCORES), tmp_path, checkpoint_seconds=0.0)
    end = run_trial(PlainReports(trial_beside()), iter(epochs), 10, within(9.5, epochs))
    assert (end.cause, end.value) == ("done", SCORES[-1])


@pytest.mark.parametrize("n_done", range(1, 11))
def test_a_worker_that_dies_before_it_reports_an_epoch_leaves_it_to_the_next_owner(
    tmp_path, n_done
):
    """The first owner ends right before the report of epoch `n_done`."""
    trial = trial_beside()
    first = iter(ResumableEpochs(ScriptedRun(SCORES), tmp_path, checkpoint_seconds=0.0))
    for step, score in enumerate(SCORES[: n_done - 1], 1):
        next(first)
        trial.report(score, step)
    next(first)
    adopted = ResumableEpochs(ScriptedRun(SCORES), tmp_path, checkpoint_seconds=0.0)
    end = run_trial(PlainReports(trial), iter(adopted), 10, RULES)
    assert (end.cause, end.value) == ("done", SCORES[-1])
    stored = trial.storage.get_trial(trial._trial_id).intermediate_values
    assert stored == dict(enumerate(SCORES, 1))
    assert (adopted.epochs_done, adopted.seconds) == (10, 10.0)


@pytest.mark.parametrize("n_kept", range(3))
def test_a_trial_that_is_pruned_has_the_same_account_after_its_owner_died_before_closing_it(
    tmp_path, n_kept
):
    """The first owner dies between the report that prunes the trial and the end of the trial."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3)

    def account(end, epochs):
        return (end, epochs.epochs_done, epochs.n_samples, epochs.seconds)

    whole = ResumableEpochs(ScriptedRun(SCORES), tmp_path / "whole", checkpoint_seconds=0.0)
    end = run_trial(PlainReports(trial_beside(GOOD, pruner=pruner)), iter(whole), 10, RULES)
    assert (end.cause, end.detail) == ("pruned", "at step 3 of 10")

    trial = trial_beside(GOOD, pruner=pruner)
    first = ResumableEpochs(ScriptedRun(SCORES), tmp_path / "adopted", checkpoint_seconds=1e9)
    for step, result in enumerate(first, 1):
        trial.report(result.validation_macro_auroc, step)
        if step == n_kept:
            first.save()
        if step == 3:
            break
    adopted = ResumableEpochs(ScriptedRun(SCORES), tmp_path / "adopted", checkpoint_seconds=0.0)
    again = run_trial(PlainReports(trial), iter(adopted), 10, RULES)
    assert account(again, adopted) == account(end, whole)
