"""Pages and trade-off studies come out the same on every back end."""

import optuna
import pytest
from trials_alone import begin_trials, finish_trials

from ecgopt.dashboard.publish import Publisher
from ecgopt.queue.deletion import remove_comparison
from ecgopt.workspace import Workspace

pytestmark = pytest.mark.server


def test_pages_are_written_once_and_removed_with_their_study(url, tmp_path):
    study, spec, database = begin_trials(tmp_path, url, n_trials=6)
    try:
        finish_trials(study, tmp_path, url)
        (trade_off,) = (
            found
            for found in database.optuna.get_all_studies()
            if found.study_name.endswith("/trade-off")
        )
        copies = database.optuna.get_all_trials(trade_off._study_id)
        complete = [
            trial
            for found in database.optuna.get_all_studies()
            if found._study_id != trade_off._study_id
            for trial in database.optuna.get_all_trials(found._study_id)
            if trial.state.name == "COMPLETE"
        ]
        assert sorted(values_of(copies)) == sorted(values_of(complete))
        assert Publisher(database, Workspace(tmp_path)).publish(spec.name) == 0
        names = optuna.load_study(
            study_name=trade_off.study_name, storage=database.optuna
        ).metric_names
        assert names == ["validation macro AUROC", "training seconds"]
        remove_comparison(database, spec.name)
        assert database.optuna.get_all_studies() == []
    finally:
        database.engine.dispose()


def values_of(trials):
    return [(trial.values[0], sorted(trial.params.items())) for trial in trials]
