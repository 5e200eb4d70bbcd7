"""What plain Optuna, which knows nothing of ours, finds in a database."""

from collections import Counter

import optuna
from optuna.storages import RDBStorage

TINY_REGIMES = ("scratch", "fine_tune/from-up")


def assert_exact_budget(url, n_trials):
    """Assert that each study of the tiny comparison has exactly its trials, and all are done."""
    storage = RDBStorage(url)
    try:
        for regime in TINY_REGIMES:
            name = f"tiny/down/resnet1d18-w2/n60/r0/{regime}"
            trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
            assert [trial.number for trial in trials] == list(range(n_trials))
            assert set(Counter(trial.state.name for trial in trials)) <= {"COMPLETE", "PRUNED"}
    finally:
        storage.remove_session()
        storage.engine.dispose()
